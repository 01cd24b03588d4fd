// What all programs here have in common: what they are told on the command line, and what they say.
//
//   PROGRAM serve                              work until it is killed
//   PROGRAM run ID FUNCTION [ARGUMENT...]      run a function here, and print its result
//   PROGRAM rpc ID FUNCTION [ARGUMENT...]      have a function run by whoever takes it, and print its result
//   PROGRAM schedule NAME CRON FUNCTION [ARGUMENT...]
//
// Arguments and results are JSON. The environment says where the server is (RESONATE_URL), to which group the program
// belongs (GROUP), which group its calls are for (TARGET), for how long it claims tasks (LEASE_MS), and into which file it
// writes what happens (MARKS).

import { appendFileSync } from "node:fs";

export interface Client {
  run(id: string, name: string, ...args: any[]): Promise<any>;
  rpc(id: string, name: string, ...args: any[]): Promise<any>;
  schedule(name: string, cron: string, func: string, ...args: any[]): Promise<any>;
  options(options: { target: string }): any;
  stop(): Promise<void>;
}


/** Whom the calls of this program are for, unless they say otherwise. */
export const here = { target: process.env.TARGET ?? "default" };
export const options = { url: process.env.RESONATE_URL, group: process.env.GROUP, ttl: Number(process.env.LEASE_MS ?? 60_000) };

/** One line in the file of marks: what is seen of a function from outside. */
export function mark(line: string): void {
  appendFileSync(process.env.MARKS!, `${line}\n`);
}

export async function main(client: Client): Promise<void> {
  const [verb, ...rest] = process.argv.slice(2);
  const json = (texts: string[]) => texts.map((text) => JSON.parse(text));
  if (verb === "serve") {
    console.log("serving");
    return;
  }
  if (verb === "schedule") {
    const [name, cron, func, ...args] = rest;
    await client.schedule(name, cron, func, ...json(args), client.options(here));
    console.log("null");
  } else {
    const [id, func, ...args] = rest;
    const result = await client[verb as "run" | "rpc"](id, func, ...json(args), client.options(here));
    console.log(JSON.stringify(result ?? null));
  }
  await client.stop();
  process.exit(0);
}
