// The Worker of the suite: what has no API of its own in the local server, or none that is Cloudflare's.
import { DurableObject } from 'cloudflare:workers';

import { containers, FakedContainer, FakedSandbox } from './container.mjs';
import { d1 } from './d1.mjs';
import { sandboxes } from './sandbox.mjs';

export { FakedContainer, FakedSandbox };

// Counts in its own storage.
export class Counter extends DurableObject {
  async next() {
    const number = (await this.ctx.storage.get('number')) ?? 0;
    await this.ctx.storage.put('number', number + 1);
    return number;
  }

  look() {
    return this.ctx.storage.get('number');
  }
}

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const places = env.COUNTER.getByName('places');
    if (pathname === '/ready') {
      await places.look();
      return new Response('ready');
    }
    // A number that no other test has: of a database `d1-<n>`, a namespace `kv-<n>`, and what else must not be shared.
    if (pathname === '/place') {
      const place = await places.next();
      return place < env.PLACES ? new Response(place) : new Response('all places are taken', { status: 507 });
    }
    // Objects in a bucket that is for this alone, so that nobody else waits for it: `count` of them from `first` on, named
    // by their numbers. That is faster than by the bucket's API.
    if (pathname === '/fill') {
      const { prefix, first, count } = await request.json();
      for (let at = first; at < first + count; at += 100) {
        const numbers = Array.from({ length: Math.min(100, first + count - at) }, (_, n) => at + n);
        await Promise.all(numbers.map((number) => env.MANY.put(`${prefix}/${number}`, 'x')));
      }
      return new Response('filled');
    }
    if (pathname.startsWith('/client/v4/')) return d1(request, env);
    if (pathname.startsWith('/containers/')) return containers(request, env);
    if (pathname === '/sandbox') return sandboxes(request, env);
    return new Response('not found', { status: 404 });
  },
};
