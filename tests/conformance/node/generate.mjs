// One video by a provider of the AI SDK: node generate.mjs FOLDER < order.json, where FOLDER/node_modules holds it.
// Prints {"video": base64, "warnings": [...]} or {"error": {name, statusCode, message}}.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.argv[2], "package.json"));
const { experimental_generateVideo: generateVideo } = require("ai");
const order = JSON.parse(fs.readFileSync(0, "utf8"));
const provider = require(order.package)[order.factory](order.settings);

// The SDK's own refuses addresses of this machine.
const download = async ({ url }) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`HTTP ${answer.status} from ${url}`);
  return { data: new Uint8Array(await answer.arrayBuffer()), mediaType: answer.headers.get("content-type") };
};

const show = (value) => process.stdout.write(JSON.stringify(value));
try {
  const model = provider.video(order.model);
  const made = await generateVideo({ model, prompt: order.prompt, maxRetries: 0, download, ...order.options });
  show({ video: made.video.base64, warnings: made.warnings });
} catch (error) {
  show({ error: { name: error.name, statusCode: error.statusCode ?? null, message: error.message } });
}
