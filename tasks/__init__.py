"""The applied tasks; each is loaded by name through pipelines.registry."""
