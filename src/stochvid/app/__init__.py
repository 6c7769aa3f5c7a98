"""`stochvid app`: the web page. Only `server` and `page` need gradio, of the extra `app`."""
