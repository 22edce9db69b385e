// Ids by Hugging Face's JavaScript tokenizers: node hf_ids.mjs PACKAGE_FOLDER TOKENIZER.json TEXT...
// writes a line for each text: tokenizer, text, count, FNV-1a hash of the ids as int32.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, model, ...texts] = process.argv.slice(2);
const entry = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'))).exports['.'];
const file = typeof entry === 'string' ? entry : (entry.import?.default ?? entry.import ?? entry.node?.import?.default ?? entry.default);
const { Tokenizer } = await import(pathToFileURL(path.join(folder, file)));
const tokenizer = new Tokenizer(JSON.parse(fs.readFileSync(model)), {});

for (const text of texts) {
  const { ids } = tokenizer.encode(fs.readFileSync(text, 'utf8'), { add_special_tokens: false });
  let h = 0xcbf29ce484222325n;
  for (const id of ids)
    for (let shift = 0; shift < 32; shift += 8) h = ((h ^ BigInt((id >> shift) & 255)) * 0x100000001b3n) & 0xffffffffffffffffn;
  console.log(model.split('/').slice(-2).join('/'), path.basename(text), ids.length, h.toString(16).padStart(16, '0'));
}
