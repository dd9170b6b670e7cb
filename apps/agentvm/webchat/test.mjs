// The page in a real browser, against a real server with the scripted model. `node test.mjs AVM CHROMIUM [FOLDER]`:
// with a folder, pictures of the page are left there.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [avm, executablePath, pictures] = process.argv.slice(2);
const data = mkdtempSync(join(tmpdir(), "agentx-webchat-data-"));
const env = { PATH: process.env.PATH, AVM_DATA_DIR: data };
const WAIT = { timeout: 15_000 };

/** Starts a server, and gives it with its address. */
async function serve(port = "0") {
  const flags = ["serve", "--port", port, "--ask", "bash", "--isolation", "none"];
  const server = spawn(avm, flags, { env, stdio: ["ignore", "pipe", "ignore"] });
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

/** The page of one size, from signing in to a file that is downloaded. */
async function converse(name, viewport) {
  const context = await browser.newContext({ viewport, acceptDownloads: true });
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

  const menu = page.getByText("Conversations", { exact: true }).first();
  const create = page.getByRole("button", { name: "New conversation" });
  if (!(await create.isVisible())) await menu.click();
  await create.click();
  await page.getByRole("button", { name: "Stop" }).waitFor(WAIT);
  await say("hello there");
  await told("You said: hello there");
  pass(`${name}: an answer is streamed`);

  await say("$ echo made > made.txt; cat made.txt");
  await page.getByRole("group", { name: "Permission" }).waitFor(WAIT);
  await shot("permission");
  await page.getByRole("button", { name: "Allow" }).click();
  await tool("done");
  await log.getByText("made", { exact: true }).last().waitFor({ ...WAIT, state: "attached" });
  await log.locator(".tool summary").last().click();
  await shot("tool");
  pass(`${name}: a tool waits for a permission, runs, and shows its result`);

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
  // The server that was killed held the conversation; after 15 seconds the other one takes it over.
  await log.getByText("You said: still there?", { exact: true }).waitFor({ timeout: 40_000 }).catch(async (error) => {
    throw new Error(`${error.message}\n${await log.innerText()}`);
  });
  assert.equal(await log.getByText("You said: hello there", { exact: true }).count(), 1);
  pass(`${name}: the page comes back after the server was killed, and shows nothing twice`);

  await page.reload();
  await told("You said: still there?");
  assert.equal(await log.getByText("hello there", { exact: true }).count(), 1);
  const files = page.locator("details.files summary").first();
  await files.click();
  const loading = page.waitForEvent("download");
  await page.getByRole("button", { name: /^made\.txt/ }).click();
  assert.equal(readFileSync(await (await loading).path(), "utf8"), "made\n");
  await shot("files");
  pass(`${name}: a conversation is there after a reload, and its files are downloaded`);

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
} finally {
  await browser.close();
  await end(server, "SIGTERM");
  rmSync(data, { recursive: true, force: true });
}
