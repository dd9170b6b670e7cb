// Does work as often as each line of the input says, and answers with the processor time that it took, in microseconds.
import { createInterface } from 'node:readline';

export async function serve(work) {
  for await (const line of createInterface({ input: process.stdin })) {
    const before = process.cpuUsage();
    for (let left = Number(line); left > 0; left -= 1) await work();
    const { user, system } = process.cpuUsage(before);
    process.stdout.write(`${user + system}\n`);
  }
}
