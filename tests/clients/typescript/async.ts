// The same functions for the SDK's second flavour: async functions.

import { type Context, type Info, Resonate } from "@resonatehq/sdk/async";
import { here, main, mark, options } from "./program.ts";

const resonate = new Resonate(options);

const functions = {
  async add(_: Info, a: number, b: number) {
    return a + b;
  },

  async square(_: Info, n: number) {
    return n * n;
  },

  async fail(_: Info, what: string, why: string) {
    throw new Error(`${what}: ${why}`);
  },

  /** Half of the squares are made here, the others by whoever in the group takes them; all at once. */
  async gather(context: Context, n: number): Promise<number> {
    const begun = [];
    for (let i = 1; i <= n; i++) {
      begun.push(i % 2 ? context.run(functions.square, i) : context.rpc<number>("square", i, context.options(here)));
    }
    return (await Promise.all(begun)).reduce((sum, square) => sum + square, 0);
  },

  async nap(context: Context, ms: number): Promise<string> {
    await context.sleep(ms);
    return "rested";
  },

  /** Asks a person, who finds the promise by its id. */
  async ask(context: Context): Promise<any> {
    const answer = context.promise<any>();
    mark(`asked ${answer.id}`);
    return await answer;
  },

  async steps(context: Context, n: number, ms: number): Promise<number> {
    for (let i = 1; i <= n; i++) {
      await context.run(functions.step, i);
      await context.sleep(ms);
    }
    return n;
  },

  async step(info: Info, i: number) {
    mark(`step ${info.id} ${i}`);
  },

  async tick(info: Info) {
    mark(`tick ${info.id}`);
  },

  /** A function that is WebAssembly, somewhere. */
  async wasm(context: Context, func: string, ...args: any[]): Promise<any> {
    return await context.rpc(func, ...args, context.options({ target: "poll://any@wasm" }));
  },
};

for (const [name, func] of Object.entries(functions)) resonate.register(name, func);
// Here a call is a handle, and its result something to wait for.
await main({
  run: async (id, name, ...args) => (await resonate.run(id, name, ...args)).result(),
  rpc: async (id, name, ...args) => (await resonate.rpc(id, name, ...args)).result(),
  schedule: (name, cron, func, ...args) => resonate.schedule(name, cron, func, ...args),
  options: (options) => resonate.options(options),
  stop: () => resonate.stop(),
});
