// The Worker in front of the containers: each name is one container, which runs `agentx-container`.
//
//     POST /containers/{name}/start    starts it, and answers when its server does
//     POST /containers/{name}/stop     ends it
//     *    /containers/{name}/http/…   goes to its server, which is started where it does not run
//
// Callers send `authorization: Bearer <AGENTX_CONTAINER_TOKEN>`, a secret of the Worker; the container's server asks for
// the same.
import { Container } from '@cloudflare/containers';

const ROUTE = /^\/containers\/([A-Za-z0-9_-]{1,64})\/(start|stop|http(\/.*))$/;

export class AgentxContainer extends Container {
  defaultPort = 3000;
  sleepAfter = '10m';
  pingEndpoint = 'ping';

  constructor(ctx, env) {
    super(ctx, env);
    this.envVars = { AGENTX_CONTAINER_TOKEN: env.AGENTX_CONTAINER_TOKEN };
  }
}

// In constant time, whatever was sent: two hashes are as long as each other.
async function isToken(given, token) {
  const hash = (text) => crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  const [one, other] = await Promise.all([hash(given), hash(`Bearer ${token}`)]);
  return crypto.subtle.timingSafeEqual(one, other);
}

export async function serve(request, env) {
  const url = new URL(request.url);
  const route = ROUTE.exec(url.pathname);
  if (route === null) return new Response('not found', { status: 404 });
  if (!env.AGENTX_CONTAINER_TOKEN) return new Response('AGENTX_CONTAINER_TOKEN is not set', { status: 500 });
  if (!(await isToken(request.headers.get('authorization') ?? '', env.AGENTX_CONTAINER_TOKEN))) {
    return new Response('the token is missing or wrong', { status: 401 });
  }
  const [, name, verb, path] = route;
  const container = env.CONTAINER.getByName(name);
  if (path !== undefined) {
    url.pathname = path;
    return container.fetch(new Request(url, request));
  }
  if (request.method !== 'POST') return new Response('POST', { status: 405 });
  try {
    if (verb === 'start') await container.startAndWaitForPorts();
    else await container.destroy();
  } catch (error) {
    // There is no room for it, its image is missing, or its server does not come up: the caller may ask again.
    return new Response(`the container can't ${verb}: ${error.message}`, { status: 503 });
  }
  return new Response(null, { status: 204 });
}

export default { fetch: serve };
