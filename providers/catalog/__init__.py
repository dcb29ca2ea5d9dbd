"""One file of models per provider: facts with source and date, read by `providers.catalog_files`."""
