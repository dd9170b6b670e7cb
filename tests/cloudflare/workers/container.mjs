// Containers without an engine: Cloudflare's own classes run in workerd, and what an engine would do is done by the test,
// which starts and ends servers on this machine when it is asked. Image, isolation and network of a container, and how
// Cloudflare places one, are not tested by this.
import { Sandbox } from '@cloudflare/sandbox';

import { AgentxContainer, serve } from '../../../apps/container/worker/index.mjs';

// `ctx.container` as Cloudflare gives it, over the test's engine. A container's name has the engine's port: `e<port>-…`.
function fakeContainer(name) {
  const [, engine] = /^e(\d+)/.exec(name);
  const ask = (verb, body) => fetch(`http://127.0.0.1:${engine}/${verb}/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  let running = false;
  let started = Promise.reject(new Error('the container is not running'));
  started.catch(() => {});
  let gone = Promise.withResolvers();
  const end = async () => {
    if (!running) return;
    running = false;
    await ask('destroy', {});
    gone.resolve();
  };
  return {
    get running() { return running; },
    start(config) {
      running = true;
      gone = Promise.withResolvers();
      started = ask('start', config ?? {}).then(async (answer) => {
        if (!answer.ok) throw new Error(`the engine: ${await answer.text()}`);
        return answer.json();
      });
      started.catch(() => { running = false; });
    },
    monitor: () => gone.promise,
    signal: () => { end(); },
    destroy: end,
    getTcpPort: () => ({
      async fetch(input, init) {
        const { port } = await started;
        const request = new Request(input, init);
        const url = new URL(request.url);
        Object.assign(url, { protocol: 'http:', host: `127.0.0.1:${port}` });
        return fetch(new Request(url, request));
      },
    }),
    setInactivityTimeout: async () => {},
    interceptAllOutboundHttp: async () => {},
    interceptOutboundHttp: async () => {},
    interceptOutboundHttps: async () => {},
  };
}

// The real class over the fake.
const faked = (Class) => class extends Class {
  constructor(ctx, env) {
    Object.defineProperty(ctx, 'container', { value: fakeContainer(ctx.id.name) });
    super(ctx, env);
  }
};

export const FakedContainer = faked(AgentxContainer);
export const FakedSandbox = faked(Sandbox);

export const containers = (request, env) => serve(request, { AGENTX_CONTAINER_TOKEN: 'token', CONTAINER: env.CONTAINER });
