"""How the built-in demo model is made; see README.md. Not installed."""

from tests.torchvision_import import import_torchvision

_TORCHVISION = import_torchvision()  # before transformers is imported, alive to the end
