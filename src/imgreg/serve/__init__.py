"""imgreg serve: the classifier as a local page and an HTTP interface, on Starlette and uvicorn."""
