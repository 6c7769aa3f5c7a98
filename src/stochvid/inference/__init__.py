"""What people do with a trained model: predict, measure surprise, see a demo."""
