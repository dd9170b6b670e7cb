// Cloudflare's own code on loopback: R2 with its S3 endpoint, D1, KV and Durable Objects, in one workerd that miniflare
// runs. `cargo xtask test cloudflare` starts it.
//
//     node server.mjs <node_modules>
//
// Needs Node 22. Prints one line of JSON when it answers. Ends when its standard input does, so that it can't outlive who started it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// All that is written lies in one folder, which is removed at the end, whichever that is.
const folder = mkdtempSync(join(tmpdir(), 'agentx-cloudflare-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
Object.assign(process.env, { HOME: folder, TMPDIR: folder });

const [nodeModules] = process.argv.slice(2);
const require = createRequire(join(nodeModules, 'server.mjs'));
const { convertV4MiniflareOptions, Miniflare } = require('miniflare');
const { default: workerd, compatibilityDate } = require('workerd');
const { build } = require('esbuild');

// How many tests can have a database, and a namespace, of their own.
const PLACES = 1024;
const places = (kind) => Object.fromEntries(Array.from({ length: PLACES }, (_, n) => [`${kind}-${n}`, `${kind}-${n}`]));

const s3Credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };

const workers = dirname(fileURLToPath(import.meta.url));
const { outputFiles: [{ text: script }] } = await build({
  entryPoints: [join(workers, 'main.mjs')],
  bundle: true,
  write: false,
  format: 'esm',
  target: 'esnext',
  nodePaths: [nodeModules],
  external: ['cloudflare:*', 'node:*'],
  logLevel: 'silent',
});

const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    host: '127.0.0.1',
    port: 0,
    cf: false,
    telemetry: { enabled: false },
    unsafeLocalExplorer: true,
    resourcePersistencePath: join(folder, 'data'),
    name: 'main',
    modules: true,
    script,
    compatibilityDate,
    compatibilityFlags: ['nodejs_compat', 'd1_binding_jsrpc'],
    bindings: { PLACES },
    d1Databases: places('d1'),
    kvNamespaces: places('kv'),
    r2Buckets: { BUCKET: { id: 'bucket', s3Credentials }, MANY: { id: 'many', s3Credentials } },
    durableObjects: {
      COUNTER: { className: 'Counter', useSQLite: true },
      CONTAINER: { className: 'FakedContainer', useSQLite: true },
      SANDBOX: { className: 'FakedSandbox', useSQLite: true },
    },
  }),
);

let ending;
const end = () => (ending ??= miniflare.dispose().finally(() => process.exit()));
process.stdin.on('end', end).resume();
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(signal, end);

const url = (await miniflare.ready).origin;
// It answers: a Durable Object has been asked.
const answer = await miniflare.dispatchFetch(`${url}/ready`);
if (!answer.ok) throw new Error(`not ready: ${answer.status} ${await answer.text()}`);
console.log(JSON.stringify({ url, workerd: execFileSync(workerd, ['--version'], { encoding: 'utf8' }).trim() }));
