// Every method of one openai-node version against a real server, with the rows of the Python scenario.
// Usage: node scenario.mjs FOLDER < orders.json, where FOLDER/node_modules holds the version. JSON lines on stdout.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const folder = path.join(process.argv[2], "node_modules", "openai");
const { default: OpenAI, toFile } = await import(pathToFileURL(path.join(folder, "index.mjs")).href);
const orders = JSON.parse(fs.readFileSync(0, "utf8"));

const rows = [];
const row = (name, needs, run) => rows.push({ name, needs, run });
const open = (baseURL, apiKey = orders.key, options = {}) => new OpenAI({ baseURL, apiKey, ...options });
const client = open(orders.api);
const { model } = orders;
const png = fs.readFileSync(orders.png);
const clip = fs.readFileSync(orders.clip);
const made = [];
let upstream = [];
let files = [];

// shared by the rows

const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const check = (condition, message) => assert.ok(condition, message);
const equal = (actual, expected, what) =>
  assert.deepEqual(actual, expected, `${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
const prompt = (what) => `${orders.column} ${what} ${process.hrtime.bigint()}`;
const expectUpstream = (where, text, fields = {}, sent = {}) =>
  upstream.push({ path: where, prompt: text, fields, files: sent });
const plain = (value) => JSON.parse(JSON.stringify(value));
const upload = (data, name) => toFile(data, name);

const once = (make) => {
  let made;
  return () => (made ??= make());
};

async function finish(video, { seconds = "4", size = "1280x720" } = {}) {
  made.push(video.id);
  const deadline = Date.now() + 60_000;
  while (["queued", "in_progress"].includes(video.status)) {
    check(Date.now() < deadline, `${video.id} is still ${video.status} after 60 s`);
    await sleep(100);
    video = await client.videos.retrieve(video.id);
  }
  equal([video.status, video.error], ["completed", null], "the end of the video");
  equal([video.object, video.progress], ["video", 100], "object and progress");
  equal([video.seconds, video.size], [seconds, size], "seconds and size");
  check(video.completed_at >= video.created_at, "completed_at is before created_at");
  check(video.expires_at > video.completed_at, "expires_at is not after completed_at");
  equal(video.cost.status, "captured", "cost.status");
  const content = await bytes(await client.videos.downloadContent(video.id), "video/mp4");
  equal(content.subarray(4, 8).toString(), "ftyp", "the first box of the MP4");
  const file = path.join(orders.out, `${fs.readdirSync(orders.out).length}.mp4`);
  fs.writeFileSync(file, content);
  files.push({ path: file, seconds, size });
  return content;
}

async function bytes(answer, mediaType) {
  equal(answer.headers.get("content-type"), mediaType, "content-type");
  const content = Buffer.from(await answer.arrayBuffer());
  equal(content.length, Number(answer.headers.get("content-length")), "length of the content");
  return content;
}

async function refused(kind, code, call, param) {
  try {
    await call();
  } catch (error) {
    check(error?.constructor === kind, `${error} instead of ${kind.name}`);
    check(error.requestID ?? error.request_id, "no x-request-id");
    check(error.message && error.type, "no message or type");
    if (code) equal(error.code, code, "code");
    if (param) equal(error.param, param, "param");
    return error;
  }
  throw new Error(`no ${kind.name}`);
}

const base = once(async () => {
  const video = await client.videos.create({ prompt: prompt("base"), model, seconds: "4", size: "1280x720" });
  const content = await finish(video);
  return { video: await client.videos.retrieve(video.id), content };
});
const file = once(() => client.files.create({ file: fs.createReadStream(orders.png), purpose: "vision" }));
const character = once(async () =>
  client.videos.createCharacter({ name: "Rosa", video: await upload(clip, "rosa.mp4") }),
);

const deliveries = [];
const hook = `http://127.0.0.1:${orders.hook_port}/hook`;
const receiver = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    deliveries.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
    response.writeHead(200, { "content-length": "0" }).end();
  });
});
await new Promise((listening) => receiver.listen(orders.hook_port, "127.0.0.1", listening));

async function delivered(wanted) {
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline) {
    const found = deliveries.findIndex((each) => wanted(JSON.parse(each.body)));
    if (found >= 0) return deliveries.splice(found, 1)[0];
    await sleep(50);
  }
  throw new Error("no webhook came within 20 s");
}

// videos

row("videos.create (prompt only)", "videos.create", async () => {
  const text = prompt("prompt only");
  const video = await client.videos.create({ prompt: text });
  check(video.id.startsWith("video_") && ["queued", "in_progress"].includes(video.status), plain(video));
  check(video._request_id, "no x-request-id");
  equal([video.seconds, video.size, video.prompt], ["4", "720x1280", text], "defaults");
  await finish(video, { size: "720x1280" });
  expectUpstream("/v1/videos", text, { model: "fast-1", seconds: "4", size: "720x1280" });
});

row("videos.create (every field)", "videos.create", async () => {
  const text = prompt("every field,\nsecond line");
  const video = await client.videos.create({
    prompt: text,
    model,
    seconds: "8",
    size: "1280x720",
    seed: 42,
    metadata: { shot: "7" },
    max_cost: "0.80",
  });
  equal(video.model, model, "model");
  equal(video.metadata, { shot: "7" }, "metadata");
  await finish(video, { seconds: "8" });
  expectUpstream("/v1/videos", text, { model: "fast-1", seconds: "8", size: "1280x720", seed: "42" });
});

async function createWith(what, reference) {
  const text = prompt(what);
  const fields = { prompt: text, model, seconds: "4", size: "1280x720" };
  await finish(await client.videos.create({ ...fields, input_reference: reference }));
  expectUpstream("/v1/videos", text, { seconds: "4" }, { input_reference: sha256(png) });
}

row("videos.create (file)", "videos.create", async () => createWith("bytes", await upload(png, "first.png")));
row("videos.create (streamed file)", "videos.create", () => createWith("stream", fs.createReadStream(orders.png)));
row("videos.create (image_url)", "videos.create", () =>
  createWith("image_url", { image_url: `data:image/png;base64,${png.toString("base64")}` }),
);
row("videos.create (file_id)", "videos.create", async () => createWith("file_id", { file_id: (await file()).id }));

row("videos.create_character", "videos.createCharacter", async () => {
  const found = await character();
  check(found.id.startsWith("char_"), plain(found));
  equal(found.name, "Rosa", "name");
  check(Math.abs(found.created_at - Date.now() / 1000) < 60, "created_at is not now");
});

row("videos.get_character", "videos.getCharacter", async () => {
  const known = await character();
  equal(plain(await client.videos.getCharacter(known.id)), plain(known), "character");
});

row("videos.create (character)", "videos.createCharacter", async () => {
  const text = prompt("Rosa dances");
  const characters = [{ id: (await character()).id }];
  await finish(await client.videos.create({ prompt: text, model, seconds: "4", size: "1280x720", characters }));
  const sent = { "characters[][video]": sha256(clip) };
  expectUpstream("/v1/videos", text, { "characters[][name]": "Rosa" }, sent);
});

row("videos.create_and_poll", "videos.createAndPoll", () => assert.fail("the matrix knows no such method"));
row("videos.poll", "videos.poll", () => assert.fail("the matrix knows no such method"));
row("videos (async client)", "videos.createAndPoll", () => assert.fail("the matrix knows no such method"));

row("videos.retrieve", "videos.retrieve", async () => {
  const { video } = await base();
  const { data, response } = await client.videos.retrieve(video.id).withResponse();
  check(response.headers.get("x-request-id"), "no x-request-id");
  equal(plain(data), plain(video), "video");
  equal(data.remixed_from_video_id, null, "remixed_from_video_id");
});

const download = async (variant, mediaType) => {
  const { video } = await base();
  return bytes(await client.videos.downloadContent(video.id, { variant }), mediaType);
};

row("videos.download_content (video)", "videos.downloadContent", async () => {
  check((await base()).content.equals(await download("video", "video/mp4")), "other content");
});
row("videos.download_content (thumbnail)", "videos.downloadContent", async () => {
  const content = await download("thumbnail", "image/webp");
  equal([content.toString("latin1", 0, 4), content.toString("latin1", 8, 12)], ["RIFF", "WEBP"], "magic bytes");
});
row("videos.download_content (spritesheet)", "videos.downloadContent", async () => {
  equal((await download("spritesheet", "image/jpeg")).toString("hex", 0, 3), "ffd8ff", "magic bytes");
});
row("videos.download_content (streamed)", "videos.downloadContent", async () => {
  const { video, content } = await base();
  const answer = await client.videos.downloadContent(video.id);
  const parts = [];
  for await (const part of answer.body) parts.push(part);
  check(content.equals(Buffer.concat(parts)), "other content");
});

row("videos.remix", "videos.remix", async () => {
  const { video: source, content } = await base();
  const text = prompt("remix");
  const video = await client.videos.remix(source.id, { prompt: text });
  equal(video.remixed_from_video_id, source.id, "remixed_from_video_id");
  await finish(video);
  equal((await client.videos.retrieve(video.id)).remixed_from_video_id, source.id, "remixed_from_video_id");
  expectUpstream("/v1/videos/edits", text, { size: "1280x720" }, { video: sha256(content) });
});

row("videos.edit (file)", "videos.edit", async () => {
  const text = prompt("edit file");
  await finish(await client.videos.edit({ prompt: text, video: fs.createReadStream(orders.clip) }));
  expectUpstream("/v1/videos/edits", text, { size: "1280x720" }, { video: sha256(clip) });
});

row("videos.edit (id)", "videos.edit", async () => {
  const { video: source, content } = await base();
  const text = prompt("edit id");
  await finish(await client.videos.edit({ prompt: text, video: { id: source.id } }));
  expectUpstream("/v1/videos/edits", text, { size: "1280x720" }, { video: sha256(content) });
});

row("videos.extend (file)", "videos.extend", async () => {
  const text = prompt("extend file");
  const source = await upload(clip, "clip.mp4");
  const video = await client.videos.extend({ prompt: text, seconds: "8", video: source });
  equal(video.seconds, "12", "stitched seconds");
  await finish(video, { seconds: "12" });
  expectUpstream("/v1/videos/extensions", text, { seconds: "8" }, { video: sha256(clip) });
});

row("videos.extend (id)", "videos.extend", async () => {
  const { video: source, content } = await base();
  const text = prompt("extend id");
  const video = await client.videos.extend({ prompt: text, seconds: "4", video: { id: source.id } });
  equal(video.seconds, "8", "stitched seconds");
  await finish(video, { seconds: "8" });
  expectUpstream("/v1/videos/extensions", text, { seconds: "4" }, { video: sha256(content) });
});

async function all(pages) {
  const found = [];
  for await (const each of pages) found.push(each.id);
  return found;
}

row("videos.list", "videos.list", async () => {
  while (made.length < 5) made.push((await client.videos.create({ prompt: prompt("one of many"), model })).id);
  const page = await client.videos.list({ limit: 2 });
  equal([page.data.length, page.has_more], [2, true], "the first page");
  const found = await all(client.videos.list({ limit: 2 }));
  equal([...found].sort(), [...made].sort(), "all videos");
  equal(await all(client.videos.list({ limit: 3, order: "asc" })), [...found].reverse(), "ascending");
  const after = await client.videos.list({ after: found[0], limit: 1 });
  equal(after.data.map((each) => each.id), found.slice(1, 2), "after");
});

row("videos.delete", "videos.delete", async () => {
  const fields = { prompt: prompt("delete"), model, seconds: "4", size: "1280x720" };
  const video = await client.videos.create(fields);
  await finish(video);
  const answer = await client.videos.delete(video.id);
  equal([answer.id, answer.object, answer.deleted], [video.id, "video.deleted", true], "answer");
  made.splice(made.indexOf(video.id), 1);
  for (const method of ["retrieve", "downloadContent", "delete"]) {
    await refused(OpenAI.NotFoundError, "video_not_found", () => client.videos[method](video.id));
  }
});

row("videos (a failed job)", "videos.create", async () => {
  let video = await client.videos.create({ prompt: prompt("[fault:moderation] failed"), model });
  made.push(video.id);
  const deadline = Date.now() + 30_000;
  while (["queued", "in_progress"].includes(video.status) && Date.now() < deadline) {
    await sleep(100);
    video = await client.videos.retrieve(video.id);
  }
  equal([video.status, video.error?.code], ["failed", "moderation_blocked"], "the end");
  check(video.error.message, "no message");
  equal(video.cost.status, "released", "cost.status");
  await refused(OpenAI.BadRequestError, null, () => client.videos.downloadContent(video.id));
});

// files and models

row("files.create", "files.create", async () => {
  const found = await file();
  equal([found.bytes, found.filename], [png.length, path.basename(orders.png)], "bytes and name");
  equal([found.object, found.purpose, found.status], ["file", "vision", "processed"], "the file");
  const kept = await client.files.create({
    file: await upload(Buffer.from("hello"), "notes.txt"),
    purpose: "user_data",
    expires_after: { anchor: "created_at", seconds: 3600 },
  });
  equal(kept.expires_at, kept.created_at + 3600, "expires_at");
});

row("files.list", "files.list", async () => {
  const known = await file();
  for (let number = 0; number < 4; number += 1) {
    await client.files.create({ file: await upload(Buffer.from("x"), `${number}.txt`), purpose: "user_data" });
  }
  const found = await all(client.files.list({ limit: 2 }));
  check(found.includes(known.id) && found.length >= 5, `listed ${found}`);
  equal(new Set(found).size, found.length, "no file twice");
  equal(await all(client.files.list({ purpose: "vision" })), [known.id], "by purpose");
});

row("files.retrieve", "files.retrieve", async () => {
  const known = await file();
  equal(plain(await client.files.retrieve(known.id)), plain(known), "file");
});

row("files.wait_for_processing", "files.waitForProcessing", async () => {
  const known = await file();
  equal(plain(await client.files.waitForProcessing(known.id)), plain(known), "file");
});

row("files.content", "files.content", async () => {
  const answer = await client.files.content((await file()).id);
  check(png.equals(Buffer.from(await answer.arrayBuffer())), "other content");
});

row("files.delete", "files.delete", async () => {
  const gone = await client.files.create({ file: await upload(Buffer.from("x"), "gone.txt"), purpose: "user_data" });
  const answer = await client.files.delete(gone.id);
  equal([answer.id, answer.object, answer.deleted], [gone.id, "file", true], "answer");
  await refused(OpenAI.NotFoundError, "file_not_found", () => client.files.retrieve(gone.id));
});

row("models.list", "models.list", async () => {
  equal((await all(client.models.list())).sort(), [...orders.models].sort(), "models");
});

row("models.retrieve", "models.retrieve", async () => {
  for (const name of orders.models) {
    const found = await client.models.retrieve(name);
    equal([found.id, found.object], [name, "model"], "model");
    check(found.capabilities.operations.includes("generate"), "no capabilities");
  }
});

// webhooks

const endpoint = once(() =>
  client.webhooks.create({ name: "matrix", url: hook, event_types: ["video.completed"] }),
);
const known = (each) => [each.id, each.object, each.name, each.url, each.event_types];

row("webhooks.create", "webhooks.create", async () => {
  const found = await endpoint();
  check(found.signing_secret.startsWith("whsec_"), "no signing secret");
  equal([found.url, found.event_types], [hook, ["video.completed"]], "the endpoint");
});

row("webhooks.retrieve", "webhooks.retrieve", async () => {
  const mine = await endpoint();
  const found = await client.webhooks.retrieve(mine.id);
  equal(known(found), known(mine), "endpoint");
  equal(found.signing_secret_hint.slice(-4), mine.signing_secret.slice(-4), "hint");
});

row("webhooks.update", "webhooks.update", async () => {
  const types = ["video.completed", "video.failed"];
  const found = await client.webhooks.update((await endpoint()).id, { name: "renamed", event_types: types });
  equal([found.name, found.event_types, found.url], ["renamed", types, hook], "endpoint");
});

row("webhooks.list", "webhooks.list", async () => {
  const mine = [(await endpoint()).id];
  for (let n = 0; n < 3; n += 1) {
    const other = { name: `${n}`, url: `${hook}/${n}`, event_types: ["video.failed"] };
    mine.push((await client.webhooks.create(other)).id);
  }
  equal((await all(client.webhooks.list({ limit: 2 }))).sort(), [...mine].sort(), "endpoints");
  for (const id of mine.slice(1)) await client.webhooks.delete(id);
});

async function sentTest() {
  const { id } = await endpoint();
  const result = await client.webhooks.test(id, { event_type: "video.completed" });
  equal([result.status_code, result.success, result.webhook_endpoint_id], [200, true, id], "test");
  return delivered((event) => event.type === "video.completed");
}

row("webhooks.rotate_secret", "webhooks.rotateSecret", async () => {
  const mine = await endpoint();
  const found = await client.webhooks.rotateSecret(mine.id, { keep_old_secret_active_for_24_hours: true });
  check(found.signing_secret !== mine.signing_secret, "the secret is the old one");
  const { headers, body } = await sentTest();
  for (const secret of [found.signing_secret, mine.signing_secret]) {
    await client.webhooks.verifySignature(body, headers, secret);
  }
});

row("webhooks.test", "webhooks.test", async () => {
  const { headers, body } = await sentTest();
  const event = await client.webhooks.unwrap(body, headers, (await endpoint()).signing_secret);
  equal(event.type, "video.completed", "type");
});

row("webhooks.event_types.list", "webhooks.eventTypes.list", async () => {
  const types = await client.webhooks.eventTypes.list();
  equal([...types.data].sort(), ["budget.threshold_reached", "video.completed", "video.failed"], "types");
});

row("webhooks.delete", "webhooks.delete", async () => {
  const { id } = await endpoint();
  const answer = await client.webhooks.delete(id);
  equal([answer.id, answer.deleted], [id, true], "answer");
  await refused(OpenAI.NotFoundError, null, () => client.webhooks.retrieve(id));
});

async function delivery() {
  const video = await client.videos.create({ prompt: prompt("webhook"), model, webhook_url: hook });
  made.push(video.id);
  return { video, ...(await delivered((event) => event.data.id === video.id)) };
}

row("webhooks.unwrap", "webhooks.unwrap", async () => {
  const { video, headers, body } = await delivery();
  const event = await client.webhooks.unwrap(body, headers, orders.webhook_secret);
  equal([event.type, event.data.id], ["video.completed", video.id], "event");
  equal([event.id, event.object], [headers["webhook-id"], "event"], "the event's id");
  equal((await client.videos.retrieve(video.id)).status, "completed", "status when told");
});

row("webhooks.verify_signature", "webhooks.verifySignature", async () => {
  const { headers, body } = await delivery();
  await client.webhooks.verifySignature(body, headers, orders.webhook_secret);
  const other = `whsec_${Buffer.alloc(32, "x").toString("base64")}`;
  for (const [text, secret] of [[`${body} `, orders.webhook_secret], [body, other]]) {
    await assert.rejects(
      () => client.webhooks.verifySignature(text, headers, secret),
      (error) => error.constructor === OpenAI.InvalidWebhookSignatureError,
    );
  }
});

// errors and retries

row("errors: 400 BadRequestError", "videos.create", async () => {
  const bad = (code, param, fields) =>
    refused(OpenAI.BadRequestError, code, () => client.videos.create({ prompt: "x", ...fields }), param);
  await bad(null, "seconds", { seconds: "5" });
  await bad(null, "size", { size: "7x7" });
  await bad(null, "prompt", { prompt: "x".repeat(32_001) });
  await bad(null, "input_reference", { input_reference: await upload(Buffer.from("GIF8"), "x.gif") });
  const error = await bad("unknown_parameter", "sedd", { sedd: 1 });
  equal(error.headers.get("x-should-retry"), "false", "x-should-retry");
});

row("errors: 401 AuthenticationError", "models.list", () =>
  refused(OpenAI.AuthenticationError, "invalid_api_key", () => open(orders.api, "onereel_wrong").models.list()),
);

row("errors: 403 PermissionDeniedError", "videos.create", () =>
  refused(OpenAI.PermissionDeniedError, null, () => open(orders.api, orders.read_key).videos.create({ prompt: "x" })),
);

row("errors: 404 NotFoundError", "videos.retrieve", async () => {
  const missing = (code, call) => refused(OpenAI.NotFoundError, code, call);
  await missing("video_not_found", () => client.videos.retrieve(`video_${"0".repeat(32)}`));
  await missing("video_not_found", () => client.videos.retrieve(orders.foreign_video));
  await missing("model_not_found", () => client.videos.create({ prompt: "x", model: "no/such" }));
  await missing("model_not_found", () => client.models.retrieve("no-such"));
});

row("errors: 429 RateLimitError", "videos.create", async () => {
  const limited = open(orders.api, orders.limited_key, { maxRetries: 0 });
  made.push((await limited.videos.create({ prompt: prompt("within the limit") })).id);
  const error = await refused(OpenAI.RateLimitError, "rate_limit_exceeded", () =>
    limited.videos.create({ prompt: "too many" }),
  );
  const seconds = Number(error.headers.get("retry-after"));
  check(seconds >= 1 && seconds <= 60, "Retry-After is not within 1..60");
});

row("retry: lost answer, one job", "videos.create", async () => {
  const text = prompt("lost answer");
  const fields = { prompt: text, model, seconds: "4", size: "1280x720" };
  const reference = await upload(png, "first.png");
  await finish(await open(orders.cut).videos.create({ ...fields, input_reference: reference }));
  expectUpstream("/v1/videos", text, {}, { input_reference: sha256(png) });
});

row("retry: Retry-After honoured", "videos.create", async () => {
  const text = prompt("busy");
  const started = Date.now();
  const video = await open(orders.busy).videos.create({ prompt: text, model, size: "1280x720" });
  check(Date.now() - started >= 1900, "came back before Retry-After");
  await finish(video);
  expectUpstream("/v1/videos", text);
});

row("retry: x-should-retry honoured", "videos.create", async () => {
  await assert.rejects(
    () => open(orders.final).videos.create({ prompt: "x" }),
    (error) => error.constructor === OpenAI.RateLimitError && error.code === "insufficient_quota",
  );
});

row("retry: Idempotency-Key", "videos.create", async () => {
  const text = prompt("idempotency key");
  const headers = { "Idempotency-Key": text.replaceAll(" ", "-") };
  const create = (fields) => client.videos.create({ model, size: "1280x720", ...fields }, { headers });
  const first = await create({ prompt: text });
  equal((await create({ prompt: text })).id, first.id, "the video");
  await finish(first);
  expectUpstream("/v1/videos", text);
  await refused(OpenAI.BadRequestError, "idempotency_key_reused", () => create({ prompt: `${text} other` }));
});

const exists = (name) => name.split(".").reduce((found, part) => found?.[part], client) !== undefined;

for (const { name, needs, run } of rows) {
  if (orders.only.length && !orders.only.some((each) => name.includes(each))) continue;
  [upstream, files] = [[], []];
  const started = Date.now();
  let [state, detail] = ["ok", ""];
  if (!exists(needs)) {
    state = "absent";
  } else {
    try {
      await run();
    } catch (error) {
      [state, detail] = ["fail", `${error?.name}: ${error?.message}`];
      console.error(name, error);
    }
  }
  const seconds = (Date.now() - started) / 1000;
  process.stdout.write(`${JSON.stringify({ row: name, state, detail, seconds, upstream, files })}\n`);
}
receiver.close();
receiver.closeAllConnections();
