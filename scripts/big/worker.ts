import { closeSync, lstatSync, opendirSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Fills one directory, lists it, looks at each entry, and removes them all:
 *
 *     node worker.js DIRECTORY ENTRIES
 *
 * Prints a line for each tenth: what it did, and how many entries a second that was.
 */
const [directory = '', wanted = '0'] = process.argv.slice(2);
const entries = Number(wanted);
const tenth = entries / 10;
const paths = Array.from({ length: entries }, (_, i) => join(directory, `entry-${i}`));

let done = 0;
let begun = performance.now();

function count(kind: string): void {
  done++;
  if (done % tenth !== 0) return;
  const now = performance.now();
  process.stdout.write(`${kind} ${done} ${Math.round((tenth * 1_000) / (now - begun))}\n`);
  begun = now;
}

function each(kind: string, act: (path: string) => void): void {
  begin();
  for (const path of paths) {
    act(path);
    count(kind);
  }
}

function begin(): void {
  done = 0;
  begun = performance.now();
}

function list(): number {
  begin();
  const open = opendirSync(directory, { bufferSize: 100 });
  for (let entry = open.readSync(); entry !== null; entry = open.readSync()) count('list');
  open.closeSync();
  return done;
}

each('create', (path) => closeSync(openSync(path, 'wx')));
const listed = list();
if (listed !== entries) throw new Error(`${listed} are listed, ${entries} were made`);
each('stat', (path) => {
  if (!lstatSync(path).isFile()) throw new Error(`${path} is no file`);
});
each('remove', (path) => unlinkSync(path));
const left = list();
if (left !== 0) throw new Error(`${left} are listed, and all were removed`);
