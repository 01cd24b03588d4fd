// Functions for the SDK's first flavour: generators.

import { type Context, Resonate } from "@resonatehq/sdk";
import { here, main, mark, options } from "./program.ts";

const resonate = new Resonate(options);

const functions = {
  add(_: Context, a: number, b: number) {
    return a + b;
  },

  square(_: Context, n: number) {
    return n * n;
  },

  // What is no generator is tried again when it fails.
  *fail(_: Context, what: string, why: string): Generator<any, never, any> {
    throw new Error(`${what}: ${why}`);
  },

  /** Half of the squares are made here, the others by whoever in the group takes them; all at once. */
  *gather(context: Context, n: number): Generator<any, number, any> {
    const begun = [];
    for (let i = 1; i <= n; i++) {
      begun.push(i % 2 ? yield* context.beginRun(functions.square, i) : yield* context.beginRpc("square", i, context.options(here)));
    }
    let sum = 0;
    for (const square of begun) sum += yield* square;
    return sum;
  },

  *nap(context: Context, ms: number): Generator<any, string, any> {
    yield* context.sleep(ms);
    return "rested";
  },

  /** Asks a person, who finds the promise by its id. */
  *ask(context: Context): Generator<any, any, any> {
    const answer = yield* context.promise<any>();
    mark(`asked ${answer.id}`);
    return yield* answer;
  },

  *steps(context: Context, n: number, ms: number): Generator<any, number, any> {
    for (let i = 1; i <= n; i++) {
      yield* context.run(functions.step, i);
      yield* context.sleep(ms);
    }
    return n;
  },

  step(context: Context, i: number) {
    mark(`step ${context.id} ${i}`);
  },

  tick(context: Context) {
    mark(`tick ${context.id}`);
  },

  /** A function that is WebAssembly, somewhere. */
  *wasm(context: Context, func: string, ...args: any[]): Generator<any, any, any> {
    return yield* context.rpc(func, ...args, context.options({ target: "poll://any@wasm" }));
  },
};

for (const [name, func] of Object.entries(functions)) resonate.register(name, func);
await main(resonate);
