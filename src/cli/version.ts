import { readFileSync } from 'node:fs';
import { installed } from '../base/installation.js';

const manifest: unknown = JSON.parse(readFileSync(installed('package.json'), 'utf8'));

/** This build's version, as package.json says. */
export const VERSION: string =
  typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
