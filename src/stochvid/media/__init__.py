"""What people look at, in and out: videos, images, arrays, pictures, plots."""
