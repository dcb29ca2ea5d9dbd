"""Model families: how each one's weights are built or found, and which pipelines it has."""
