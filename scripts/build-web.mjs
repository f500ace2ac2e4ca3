// Bundles the page into dist/src/web, where every node finds it (src/control/pages.ts).
import { copyFile, mkdir } from 'node:fs/promises';
import { build } from 'esbuild';

const out = 'dist/src/web';
await mkdir(out, { recursive: true });
await build({
  entryPoints: [
    { in: 'src/web/main.tsx', out: 'page' },
    { in: 'src/web/page.css', out: 'page' },
  ],
  outdir: out,
  bundle: true,
  minify: true,
  sourcemap: false,
  format: 'esm',
  target: ['es2022'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'warning',
});
for (const file of ['index.html', 'icon.svg']) await copyFile(`src/web/${file}`, `${out}/${file}`);
