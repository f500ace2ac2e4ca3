// What is installed: the command line as a few files instead of some two hundred (a command starts in
// half the time), and the page, which every node finds beside it (src/control/pages.ts).
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';

const program = 'dist/src/bundle';
// What runs may start processes at any moment (`mootfs up`): the old one stays until the new one is whole.
const built = `${program}.new`;
const replaced = `${program}.old`;
const page = 'dist/src/web';
const common = {
  bundle: true,
  format: 'esm',
  sourcemap: false,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
};

const remove = (directory) => rm(directory, { recursive: true, force: true });
await Promise.all([remove(built), remove(replaced)]);
await mkdir(page, { recursive: true });
const results = await Promise.all([
  build({
    ...common,
    entryPoints: ['dist/src/cli/main.js'],
    outdir: built,
    splitting: true,
    platform: 'node',
    target: 'node20.19',
    // Native ones, and those that only nodes and mounts load.
    external: ['fuse-native', 'msgpackr-extract', 'pino', 'prom-client', 'rocksdb'],
    // Packages in CommonJS call it for Node's own modules.
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
    },
  }),
  build({
    ...common,
    entryPoints: [
      { in: 'src/web/main.tsx', out: 'page' },
      { in: 'src/web/page.css', out: 'page' },
    ],
    outdir: page,
    minify: true,
    target: ['es2022'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
  }),
]);
await rename(program, replaced).catch((error) => {
  if (error.code !== 'ENOENT') throw error;
});
await rename(built, program);
await remove(replaced);
for (const file of ['index.html', 'icon.svg']) await copyFile(`src/web/${file}`, `${page}/${file}`);

const packages = new Set();
for (const { metafile } of results) {
  for (const input of Object.keys(metafile.inputs)) {
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (name !== undefined) packages.add(name);
  }
}
const licenses = [];
for (const name of [...packages].sort()) {
  const directory = join('node_modules', name);
  const file = (await readdir(directory)).find((one) => /^licen[cs]e/i.test(one));
  if (file === undefined) throw new Error(`${name} has no file with its license`);
  licenses.push(`${name}\n\n${await readFile(join(directory, file), 'utf8')}`);
}
await writeFile(
  'dist/src/THIRD-PARTY-LICENSES',
  `Packages that dist/src/bundle and dist/src/web contain, and their licenses.\n\n${licenses.join('\n\n----\n\n')}`,
);
