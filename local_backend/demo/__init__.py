"""onereel/demo: a small text-to-video diffusion model of a small world, trained by this folder's train.py."""
