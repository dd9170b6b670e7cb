// A turn with one tool call, streamed, by the SDK: node turn.mjs NODE_MODULES BASE_URL
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serve } from './work.mjs';

const [modules, baseURL] = process.argv.slice(2);
const { default: Anthropic } = await import(pathToFileURL(join(modules, '@anthropic-ai/sdk/index.mjs')));
const client = new Anthropic({ apiKey: 'no-key', baseURL });
const tool = {
  name: 'count_files',
  description: 'Counts the files in a directory.',
  input_schema: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
};
const START = 'There are 42 files, and that is all';

await serve(async () => {
  const messages = [{ role: 'user', content: 'How many files are there?' }];
  for (;;) {
    const stream = client.messages.stream({ model: 'claude-sonnet-5-5', max_tokens: 16384, messages, tools: [tool] });
    const message = await stream.finalMessage();
    if (message.stop_reason !== 'tool_use') {
      const text = message.content.map((block) => block.text ?? '').join('');
      if (!text.startsWith(START)) throw new Error(`not the answer that was expected: ${text}`);
      return;
    }
    messages.push({ role: 'assistant', content: message.content });
    const results = message.content
      .filter((block) => block.type === 'tool_use')
      .map((call) => ({ type: 'tool_result', tool_use_id: call.id, content: `42 files in ${call.input.path}` }));
    messages.push({ role: 'user', content: results });
  }
});
