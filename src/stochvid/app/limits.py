"""How much a visitor may send, and how slowly. No torch and no gradio is needed for these."""

MIB = 1 << 20
UPLOAD_BYTES = 64 * MIB
BODY_BYTES = MIB  # of a request that uploads nothing
FORM_BYTES = 64 * 1024  # around an uploaded file
IDLE = 20  # seconds that a request may send nothing, or be late by
RATE = 8192  # bytes a second that a request must send on the whole
UPLOADS = 64  # at once
CONNECTIONS = 512  # at once; an open page has one or two
