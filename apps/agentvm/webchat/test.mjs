// The page in a real browser, against a real server with the scripted model. `node test.mjs AVM CHROMIUM [FOLDER]`:
// with a folder, pictures of the page are left there.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [avm, executablePath, pictures] = process.argv.slice(2);
const data = mkdtempSync(join(tmpdir(), "agentx-webchat-data-"));
const env = { PATH: process.env.PATH, AVM_DATA_DIR: data };
const WAIT = { timeout: 15_000 };

/** Starts a server, and gives it with its address. */
async function serve(port = "0", variables = {}) {
  const flags = ["serve", "--port", port, "--ask", "bash", "--isolation", "none"];
  const server = spawn(avm, flags, { env: { ...env, ...variables }, stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface(server.stdout)) {
    const url = /http:\/\/\S+/.exec(line)?.[0];
    if (url) return { server, url };
  }
  throw new Error("the server did not start");
}

/** Ends a server, and waits until it is gone. */
function end(server, signal) {
  return new Promise((resolve) => server.once("exit", resolve) && server.kill(signal));
}

const key = spawnSync(avm, ["key", "create", "ann"], { env }).stdout.toString().trim();
assert.match(key, /^avm_[0-9a-f]{64}$/);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let { server, url } = await serve();

/** The Messages API on loopback, whose model says what the test tells it, when it does. */
async function speaker() {
  const asked = [];
  const waiting = [];
  const api = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (type, data) => response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
    const message = { id: "msg_1", type: "message", role: "assistant", model: "m", content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 } };
    send("message_start", { message });
    send("content_block_start", { index: 0, content_block: { type: "text", text: "" } });
    const answer = {
      say: (text) => send("content_block_delta", { index: 0, delta: { type: "text_delta", text } }),
      end: () => {
        send("content_block_stop", { index: 0 });
        send("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage: { output_tokens: 2 } });
        send("message_stop", {});
        response.end();
      },
    };
    const first = waiting.shift();
    if (first) first(answer);
    else asked.push(answer);
  });
  await new Promise((resolve) => api.listen(0, "127.0.0.1", resolve));
  const answer = () => (asked.length > 0 ? Promise.resolve(asked.shift()) : new Promise((resolve) => waiting.push(resolve)));
  return { api, url: `http://127.0.0.1:${api.address().port}`, answer };
}

/** A way to a server that can be cut off. */
async function relay(port) {
  const open = new Set();
  let isCut = false;
  const relay = net.createServer((near) => {
    if (isCut) return near.destroy();
    const far = net.connect(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => open.delete(one) && other.destroy());
    }
  });
  await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
  const cut = (is) => {
    isCut = is;
    if (is) open.forEach((socket) => socket.destroy());
  };
  return { relay, url: `http://127.0.0.1:${relay.address().port}`, cut };
}

/** An answer that comes piece by piece, to a page that is left, comes back, and is loaded anew in the middle of it. */
async function stream(viewport) {
  const data = mkdtempSync(join(tmpdir(), "agentx-webchat-data-"));
  const model = await speaker();
  const served = await serve("0", { AVM_DATA_DIR: data, LLM_API_KEY: "sk-none", LLM_BASE_URL: model.url });
  const way = await relay(new URL(served.url).port);
  const context = await browser.newContext({ viewport, reducedMotion: "reduce" });
  try {
    const page = await context.newPage();
    const answer = page.locator("article.assistant .text");
    const reads = (text) => answer.last().getByText(text, { exact: true }).waitFor(WAIT);
    const status = (text) => page.getByRole("status").filter({ hasText: text }).waitFor(WAIT);
    const say = async (page, text) => {
      await page.getByRole("textbox", { name: "Message" }).fill(text);
      await page.keyboard.press("Enter");
    };
    await page.goto(way.url);
    await page.getByRole("heading", { name: "What shall we do?" }).waitFor(WAIT);
    // What nobody has said anything in yet is listened to as well when the connection comes back.
    const other = await context.newPage();
    await other.goto(served.url);
    await other.getByRole("heading", { name: "What shall we do?" }).waitFor(WAIT);
    way.cut(true);
    await status("connecting");
    await say(other, "speak");
    const turn = await model.answer();
    turn.say("One, ");
    await other.locator("article.assistant .text").getByText("One,").waitFor(WAIT);
    way.cut(false);
    await status("connected");
    await page.getByText("speak", { exact: true }).last().waitFor(WAIT);
    await reads("One,");
    turn.say("two, ");
    await reads("One, two,");
    way.cut(true);
    await status("connecting");
    turn.say("three, ");
    way.cut(false);
    await reads("One, two, three,");
    // Loaded anew, the page has all that was said, and knows that there is something to stop.
    await page.reload();
    await reads("One, two, three,");
    await page.getByRole("button", { name: "Stop" }).waitFor(WAIT);
    turn.say("four.");
    await reads("One, two, three, four.");
    turn.end();
    await page.getByRole("button", { name: "Stop" }).waitFor({ ...WAIT, state: "hidden" });
    assert.equal(await answer.count(), 1);
    await say(page, "again");
    await model.answer();
    await page.reload();
    await page.getByRole("button", { name: "Stop" }).click(WAIT);
    await page.getByText("Interrupted.").waitFor(WAIT);
  } finally {
    await context.close();
    await end(served.server, "SIGTERM");
    model.api.close();
    model.api.closeAllConnections();
    way.cut(true);
    way.relay.close();
    rmSync(data, { recursive: true, force: true });
  }
  pass("a page that is cut off or loaded anew in the middle of an answer has all of it, once, and can stop it");
}

/** The page of one size, from signing in to a file that is downloaded. */
async function converse(name, viewport) {
  const context = await browser.newContext({ viewport, acceptDownloads: true, reducedMotion: "reduce" });
  const page = await context.newPage();
  const elsewhere = [];
  page.on("request", (request) => new URL(request.url()).host === new URL(url).host || elsewhere.push(request.url()));
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  const shot = (what) => pictures && page.screenshot({ path: join(pictures, `${name}-${what}.png`) });
  const log = page.getByRole("log");
  const say = async (text) => {
    await page.getByRole("textbox", { name: "Message" }).fill(text);
    await page.keyboard.press("Enter");
  };
  const told = (text) => log.getByText(text, { exact: true }).last().waitFor(WAIT);
  const tool = (status) => log.locator(".tool .status").last().filter({ hasText: status }).waitFor(WAIT);

  await page.goto(url);
  await page.getByLabel("Your key").fill("avm_guess");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "This key is not known." }).waitFor(WAIT);
  await shot("sign-in");
  await page.getByLabel("Your key").fill(key);
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "connected" }).waitFor(WAIT);
  pass(`${name}: a wrong key is told, a right one lets in`);

  /** Opens the list of conversations, where there is no room for it beside the open one. */
  const menu = async () => {
    const unfold = page.getByRole("button", { name: "Conversations", exact: true });
    if (await unfold.isVisible()) await unfold.click();
  };
  await menu();
  await shot("conversations");
  await page.getByRole("button", { name: "New conversation", exact: true }).first().click();
  await page.getByRole("heading", { name: "What shall we do?" }).waitFor(WAIT);
  await shot("greeting");
  await say("hello there");
  await told("You said: hello there");
  await page.getByRole("heading", { name: "hello there" }).waitFor(WAIT);
  pass(`${name}: an answer is streamed, and the conversation is called by what it began with`);

  await say("A **bold** word, `code` and\n\n- a list <img src=x onerror=alert(1)>\n\n[evil](javascript:alert(1))");
  await log.locator("article.assistant strong", { hasText: "bold" }).waitFor(WAIT);
  await log.locator("article.assistant li", { hasText: "a list <img" }).waitFor(WAIT);
  assert.equal(await log.locator("img, a").count(), 0, "nothing that a model writes is HTML, or a link to a script");
  pass(`${name}: what a model writes is shown as text that was set, and never run`);

  await say("Please run `mkdir -p notes; echo made > notes/made.txt; printf '\\377\\000\\001' > raw.bin; cat notes/made.txt`");
  await page.getByRole("group", { name: "Permission" }).waitFor(WAIT);
  await shot("permission");
  await page.getByRole("button", { name: "Allow" }).click();
  await tool("done");
  await log.getByText("made", { exact: true }).last().waitFor({ ...WAIT, state: "attached" });
  const thinking = log.locator("details.thinking").last();
  assert.equal(await thinking.evaluate((fold) => fold.open), false, "thinking is folded");
  await thinking.locator("summary").click();
  await thinking.getByText("I am asked to run a command.").waitFor(WAIT);
  await log.locator(".tool summary").last().click();
  await shot("tool");
  pass(`${name}: a tool waits for a permission, runs, and shows its input and result; thinking is folded`);

  // Another tab of the same conversation sees what is said and answered here, once, and answers what is asked.
  const tab = await context.newPage();
  await tab.addInitScript((key) => sessionStorage.setItem("agentvm.key", key), key);
  await tab.goto(url);
  const there = tab.getByRole("log");
  await there.getByText("You said: hello there", { exact: true }).waitFor(WAIT);
  await tab.getByRole("status").filter({ hasText: "connected" }).waitFor(WAIT);
  await say("run `echo both`");
  await tab.getByRole("button", { name: "Allow" }).click(WAIT);
  await tool("done");
  await page.getByRole("group", { name: "Permission" }).waitFor({ ...WAIT, state: "detached" });
  await there.locator(".tool .status").last().filter({ hasText: "done" }).waitFor(WAIT);
  assert.equal(await there.getByText("run `echo both`", { exact: true }).count(), 1);
  await tab.close();
  pass(`${name}: two tabs show the same, and either one may allow`);

  await say("$ sleep 60");
  await page.getByRole("button", { name: "Allow" }).click();
  await tool("running");
  await page.keyboard.press("Escape");
  await log.getByText("Interrupted.").last().waitFor(WAIT);
  pass(`${name}: a turn is interrupted from the keyboard`);

  // The connection is lost while a turn waits, also by a server that is killed; what happens meanwhile is not.
  await say("$ echo after");
  await page.getByRole("button", { name: "Allow" }).waitFor(WAIT);
  await end(server, "SIGKILL");
  await page.getByRole("status").filter({ hasText: "connecting" }).waitFor(WAIT);
  ({ server } = await serve(new URL(url).port));
  await page.getByRole("status").filter({ hasText: "connected" }).waitFor(WAIT);
  await page.getByRole("button", { name: "Allow" }).click();
  await say("still there?");
  await log.getByText("You said: still there?", { exact: true }).waitFor(WAIT).catch(async (error) => {
    throw new Error(`${error.message}\n${await log.innerText()}`);
  });
  assert.equal(await log.getByText("You said: hello there", { exact: true }).count(), 1);
  pass(`${name}: the page comes back after the server was killed, and shows nothing twice`);

  await page.reload();
  await told("You said: still there?");
  assert.equal(await log.getByText("hello there", { exact: true }).count(), 1);
  const files = page.locator("details.files summary").first();
  await files.click();
  await page.locator("details.files details summary", { hasText: "notes" }).click();
  const download = async (file) => {
    const loading = page.waitForEvent("download");
    await page.getByRole("button", { name: file }).click();
    return readFileSync(await (await loading).path());
  };
  assert.equal((await download(/^made\.txt/)).toString(), "made\n");
  assert.deepEqual([...(await download(/^raw\.bin/))], [255, 0, 1]);
  await shot("files");
  pass(`${name}: a conversation is there after a reload, and files of its tree are downloaded as they are`);

  await menu();
  page.once("dialog", (dialog) => dialog.accept(`work-${name}`));
  await page.getByRole("button", { name: "New container" }).click();
  await page.getByRole("heading", { name: "What shall we do?" }).waitFor(WAIT);
  await menu();
  assert.equal(await page.getByLabel("Container", { exact: true }).inputValue(), `work-${name}`);
  await page.getByLabel("Container", { exact: true }).selectOption("chat");
  await told("You said: still there?");
  pass(`${name}: each container has conversations of its own`);

  // What is deleted is gone, from the keyboard too; whoever thinks better of it keeps it.
  await menu();
  await page.getByRole("button", { name: "New conversation", exact: true }).first().click();
  await page.getByRole("heading", { name: "What shall we do?" }).waitFor(WAIT);
  await say("to be deleted");
  await told("You said: to be deleted");
  await menu();
  const entry = page.getByRole("button", { name: "Delete to be deleted" });
  page.once("dialog", (dialog) => dialog.dismiss());
  await entry.click();
  assert.equal(await entry.count(), 1);
  let asked = "";
  page.once("dialog", (dialog) => (asked = dialog.message()) && dialog.accept());
  await entry.focus();
  await page.keyboard.press("Enter");
  await told("You said: still there?");
  assert.match(asked, /“to be deleted” with its files/);
  await page.getByRole("status").filter({ hasText: "“to be deleted” is deleted." }).waitFor({ ...WAIT, state: "attached" });
  await entry.waitFor({ ...WAIT, state: "detached" });
  await menu();
  await page.getByLabel("Container", { exact: true }).selectOption(`work-${name}`);
  await page.getByRole("heading", { name: "What shall we do?" }).waitFor(WAIT);
  await menu();
  page.once("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: "Delete container" }).click();
  await told("You said: still there?");
  await page.reload();
  await told("You said: still there?");
  assert.deepEqual(await page.getByLabel("Container", { exact: true }).locator("option").allTextContents(), ["chat"]);
  pass(`${name}: a conversation and a container are deleted when that is confirmed`);

  // From the keyboard alone: what has the focus is seen, and everything can be reached.
  await page.getByRole("textbox", { name: "Message" }).focus();
  const reached = new Set();
  for (let step = 0; step < 60; step++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? ""));
  }
  for (const what of ["Send", "Conversation", "Files"]) {
    assert.ok([...reached].some((label) => label.startsWith(what)), `${what} is reached with Tab: ${[...reached].join(", ")}`);
  }
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select, textarea")].filter((control) => !control.textContent.trim() && !control.getAttribute("aria-label") && !control.labels?.length).length,
  );
  assert.equal(unnamed, 0, "each control has a name");
  await page.emulateMedia({ colorScheme: "dark" });
  await shot("dark");
  await page.emulateMedia({ colorScheme: "light" });
  pass(`${name}: everything is reached from the keyboard and has a name`);

  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.equal(wide, false, "the page is wider than its window");
  assert.deepEqual(elsewhere, [], "the page asked elsewhere");
  assert.deepEqual(faults, []);
  pass(`${name}: it fits its window, asks nobody else, and has no fault`);
  await context.close();
}

function pass(what) {
  console.log(`ok ${what}`);
}

try {
  await converse("desktop", { width: 1280, height: 800 });
  await converse("phone", { width: 390, height: 844 });
  await stream({ width: 1280, height: 800 });
} finally {
  await browser.close();
  await end(server, "SIGTERM");
  rmSync(data, { recursive: true, force: true });
}
