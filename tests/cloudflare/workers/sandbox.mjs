// The clients of `@cloudflare/sandbox` against a server of ours: what they are told is given back as JSON, for the test to
// look at.
import { SandboxClient, collectFile, getSandbox, parseSSEStream } from '@cloudflare/sandbox';

async function all(stream) {
  const events = [];
  for await (const event of parseSSEStream(stream)) events.push(event);
  return events;
}

// What an operation that must fail throws.
const thrown = (promise) => promise.then(
  (value) => ({ value }),
  (error) => ({ name: error.constructor.name, code: error.code, message: error.message }),
);

// The route-based client over HTTP, straight to the server.
async function client(baseUrl, root) {
  const { commands, files, processes, utils } = new SandboxClient({ baseUrl, defaultHeaders: { authorization: 'Bearer token' } });
  const told = {};
  told.ping = await utils.ping();
  told.version = await utils.getVersion();
  told.commands = await utils.getCommands();

  told.session = await utils.createSession({ id: 's', env: { GREETING: 'hello' }, cwd: root });
  told.again = await thrown(utils.createSession({ id: 's' }));
  told.exec = await commands.execute('echo "$GREETING"; echo no >&2; exec 3>&1; false', 's');
  await commands.execute('mkdir -p d && cd d && STAYS=1', 's');
  told.stays = await commands.execute('pwd; echo $STAYS', 's');
  told.override = await commands.execute('pwd; echo $GREETING', 's', { cwd: root, env: { GREETING: 'bye' } });
  told.after = await commands.execute('pwd; echo $GREETING', 's');
  told.timeout = await commands.execute('echo begun; sleep 60', 's', { timeoutMs: 300 });
  told.ended = await thrown(commands.execute('exit 7', 's'));
  told.alone = await commands.execute('exit 7', '__DISABLE_SESSION__');
  told.stream = await all(await commands.executeStream('printf "é€"; echo no >&2; exit 3', '__DISABLE_SESSION__'));
  told.deleted = await utils.deleteSession('s');

  await files.mkdir(`${root}/a/b`, 's', { recursive: true });
  told.write = await files.writeFile(`${root}/a/b/text.txt`, 'one é\n', 's');
  told.binary = await files.writeFile(`${root}/a/data.bin`, btoa('\u0000\u00ff\u0001'), 's', { encoding: 'base64' });
  told.read = await files.readFile(`${root}/a/b/text.txt`, 's');
  told.readBinary = await files.readFile(`${root}/a/data.bin`, 's');
  told.streamed = await collectFile(await files.readFileStream(`${root}/a/b/text.txt`, 's'));
  const bytes = await collectFile(await files.readFileStream(`${root}/a/data.bin`, 's'));
  told.streamedBinary = { bytes: [...bytes.content], ...bytes.metadata };
  told.list = await files.listFiles(`${root}/a`, 's', { recursive: true });
  told.renamed = await files.renameFile(`${root}/a/data.bin`, `${root}/a/moved.bin`, 's');
  told.moved = await files.moveFile(`${root}/a/moved.bin`, `${root}/a/b/moved.bin`, 's');
  told.exists = [await files.exists(`${root}/a/moved.bin`, 's'), await files.exists(`${root}/a/b/moved.bin`, 's')];
  told.removed = await files.deleteFile(`${root}/a/b/moved.bin`, 's');
  told.missing = await thrown(files.readFile(`${root}/missing`, 's'));
  told.outside = await thrown(files.readFile('/etc/passwd', 's'));

  told.started = await processes.startProcess('echo up; echo err >&2; read line; exit 4 < /dev/null', 's', { processId: 'mine' });
  told.log = await all(await processes.streamProcessLogs('mine'));
  told.logs = await processes.getProcessLogs('mine');
  told.process = await processes.getProcess('mine');
  const { processId } = await processes.startProcess('sleep 600', 's');
  told.killed = await processes.killProcess(processId);
  told.killedLog = await all(await processes.streamProcessLogs(processId));
  told.processes = await processes.listProcesses();
  await processes.startProcess('sleep 600', 's');
  told.killAll = await processes.killAllProcesses();
  told.noProcess = await thrown(processes.getProcess('missing'));
  return told;
}

// The whole of the SDK: a `Sandbox` object in front of a container of ours. Its own session begins in /workspace, which the
// test's server does not have.
async function sdk(namespace, name, root) {
  const sandbox = getSandbox(namespace, name, { normalizeId: false });
  const session = await sandbox.createSession({ id: 'here', cwd: root });
  const told = {};
  told.exec = await session.exec('echo hello; cd /; cd - > /dev/null');
  await session.writeFile(`${root}/sdk.txt`, 'from the SDK');
  told.read = (await session.readFile(`${root}/sdk.txt`)).content;
  told.cat = (await session.exec('cat sdk.txt')).stdout;
  told.events = await all(await session.execStream('echo streamed'));
  const process = await session.startProcess('echo ready; sleep 600');
  told.line = (await process.waitForLog('ready', 10_000)).line;
  told.status = await process.getStatus();
  await process.kill();
  told.exit = await process.waitForExit(10_000);
  await sandbox.destroy();
  return told;
}

export async function sandboxes(request, env) {
  const { searchParams: asked } = new URL(request.url);
  const root = asked.get('root');
  const told = asked.has('base') ? client(asked.get('base'), root) : sdk(env.SANDBOX, asked.get('name'), root);
  return told.then((told) => Response.json(told), (error) => new Response(`${error.stack}`, { status: 500 }));
}
