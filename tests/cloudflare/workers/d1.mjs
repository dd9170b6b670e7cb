// D1's REST API over the real binding: what SQL does and what is metered is workerd's own. The address, the envelope, the
// status and the code of an error are written here after Cloudflare's documentation, and prove nothing about it.

const TOKEN = 'token';
const ROUTE = /^\/client\/v4\/accounts\/[^/]+\/d1\/database\/([^/]+)\/(query|raw)$/;

const envelope = (status, result, errors = []) =>
  Response.json({ result, errors, messages: [], success: errors.length === 0 }, { status });
const refused = (status, code, message) => envelope(status, null, [{ code, message }]);

// Both run all statements as one transaction.
async function run(database, queries, shape) {
  if (shape === 'query') return database.batch(queries.map(({ sql, params }) => database.prepare(sql).bind(...params)));
  const { results } = await database.query({ queries });
  return results.map(({ data: { columns, rows }, meta }) => ({ success: true, results: { columns, rows }, meta }));
}

export async function d1(request, env) {
  const route = ROUTE.exec(new URL(request.url).pathname);
  if (route === null || request.method !== 'POST') return refused(404, 7000, 'No route for that URI');
  if (request.headers.get('authorization') !== `Bearer ${TOKEN}`) return refused(401, 10000, 'Authentication error');
  const [, id, shape] = route;
  const database = env[id];
  if (typeof database?.prepare !== 'function') return refused(404, 7404, `The database ${id} could not be found`);
  const body = await request.json();
  const queries = (body.batch ?? [body]).map(({ sql, params = [] }) => ({ sql, params }));
  // The documentation gives parameters as strings alone.
  const strings = queries.every(({ params }) => params.every((param) => typeof param === 'string'));
  if (!strings) return refused(400, 7400, 'params are strings');
  try {
    return envelope(200, await run(database, queries, shape));
  } catch (error) {
    return refused(400, 7500, error.message);
  }
}
