"""Loads a model, prints its tensors, and changes the first one: python3 load_model.py FILE"""

import asyncio
import sys

import ferry


async def change(tensor: ferry.Tensor) -> bytes:
    await tensor.buffer.fill_async(7, tensor.nbytes, tensor.offset)
    return tensor.read()


def main(path: str) -> None:
    with ferry.Device() as device, ferry.load_model(path, device) as model:
        print(f"{model.format}: {len(model)} tensors, {model.nbytes} bytes on {device.info.name}")
        for name, tensor in model.items():
            print(f"  {name}: {tensor.type} {list(tensor.shape)}")
        first = next(iter(model.values()))
        changed = asyncio.run(change(first))
        print(f"{first.name} is now {changed[:4]!r}...")


if __name__ == "__main__":
    main(sys.argv[1])
