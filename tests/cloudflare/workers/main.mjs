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
    if (pathname.startsWith('/client/v4/')) return d1(request, env);
    if (pathname.startsWith('/containers/')) return containers(request, env);
    if (pathname === '/sandbox') return sandboxes(request, env);
    return new Response('not found', { status: 404 });
  },
};
