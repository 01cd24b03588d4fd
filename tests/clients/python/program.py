"""Functions for the SDK for Python, and a command line to them: see ../typescript/program.ts."""

import asyncio
import json
import os
import sys
from datetime import timedelta

from resonate.context import Context
from resonate.resonate import Resonate
from resonate.retry import Never


def mark(line: str) -> None:
    with open(os.environ["MARKS"], "a") as marks:
        marks.write(f"{line}\n")


async def add(_: Context, a: int, b: int) -> int:
    return a + b


async def square(_: Context, n: int) -> int:
    return n * n


async def fail(_: Context, what: str, why: str) -> None:
    raise ValueError(f"{what}: {why}")


async def gather(context: Context, n: int) -> int:
    """Half of the squares are made here, the others by whoever in the group takes them; all at once."""
    begun = [context.run(square, i) if i % 2 else context.rpc("square", i) for i in range(1, n + 1)]
    return sum([await one for one in begun])


async def nap(context: Context, ms: int) -> str:
    await context.sleep(timedelta(milliseconds=ms))
    return "rested"


async def ask(context: Context) -> object:
    """Asks a person, who finds the promise by its id."""
    answer = context.promise()
    mark(f"asked {await answer.id()}")
    return await answer


async def steps(context: Context, n: int, ms: int) -> int:
    for i in range(1, n + 1):
        await context.run(step, i)
        await context.sleep(timedelta(milliseconds=ms))
    return n


async def step(context: Context, i: int) -> None:
    mark(f"step {context.info.id} {i}")


async def tick(context: Context) -> None:
    mark(f"tick {context.info.id}")


async def wasm(context: Context, func: str, *args: object) -> object:
    """A function that is WebAssembly, somewhere."""
    return await context.options(target="poll://any@wasm").rpc(func, *args)


async def main() -> None:
    lease = timedelta(milliseconds=int(os.environ.get("LEASE_MS", "60000")))
    resonate = Resonate(url=os.environ["RESONATE_URL"], group=os.environ.get("GROUP"), ttl=lease)
    elsewhere = resonate.options(target=os.environ.get("TARGET"))
    functions = [add, square, fail, gather, nap, ask, steps, step, tick, wasm]
    for function in functions:
        # What fails is tried again for half an hour, unless one says otherwise.
        resonate.register(function, retry_policy=Never())
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        print("serving", flush=True)
        await asyncio.Event().wait()
    if verb == "schedule":
        name, cron, func, *args = rest
        await elsewhere.schedule(name, cron, func, tuple(map(json.loads, args)))
        result = None
    else:
        id, func, *args = rest
        begin = {"run": resonate.run, "rpc": elsewhere.rpc}[verb]
        result = await begin(id, func, *map(json.loads, args)).result()
    print(json.dumps(result))
    await resonate.stop()


asyncio.run(main())
