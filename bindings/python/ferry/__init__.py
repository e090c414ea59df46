"""Ferry: moves bytes between host memory and GPU-private buffers.

>>> import ferry
>>> device = ferry.Device("host")
>>> buffer = device.upload(b"weights")
>>> buffer.read(3, offset=4)
b'hts'
>>> ticket = buffer.fill_async(7)       # a concurrent.futures.Future
>>> ticket.result()
>>> buffer.read()
b'\\x07\\x07\\x07\\x07\\x07\\x07\\x07'
>>> device.close()

The C library is found by the environment's FERRY_LIBRARY, then beside this module, then as the
system finds libraries. Its header, ferry/ferry.h, is the manual for what operations mean.
"""

from ._library import Error, Status
from ._model import Model, Tensor, load_model
from ._objects import Batch, Buffer, Device, DeviceInfo, devices
from ._tickets import Ticket

__version__ = "0.1.0"
__all__ = ["Batch", "Buffer", "Device", "DeviceInfo", "Error", "Model", "Status", "Tensor", "Ticket",
           "devices", "load_model"]

# Tracebacks, help() and pickles name them as users do.
for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
