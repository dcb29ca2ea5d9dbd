"""The bundled diffusion worker: an OpenAI-shaped HTTP server around real diffusers pipelines, in its own process."""
