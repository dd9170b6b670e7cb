// Server-sent events to text, by the SDK: node sse_to_text.mjs NODE_MODULES FILE:PIECE:LENGTH
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serve } from './work.mjs';

const [modules, argument] = process.argv.slice(2);
const [, file, piece, length] = argument.match(/^(.*):(\d+):(\d+)$/);
const { Stream } = await import(pathToFileURL(join(modules, '@anthropic-ai/sdk/core/streaming.mjs')));
const whole = new Uint8Array(readFileSync(file));
const pieces = [];
for (let start = 0; start < whole.length; start += Number(piece)) {
  pieces.push(whole.subarray(start, start + Number(piece)));
}

await serve(async () => {
  let next = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (next < pieces.length) controller.enqueue(pieces[next++]);
      else controller.close();
    },
  });
  const events = Stream.fromSSEResponse(new Response(body), new AbortController());
  let text = '';
  for await (const event of events) {
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') text += event.delta.text;
  }
  if (Buffer.byteLength(text) !== Number(length)) throw new Error('not the text of the stream');
});
