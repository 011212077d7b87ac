"""A finished run live: a web page with camera and microphone, and the server that predicts for it."""
