/** A text as a shell takes it for one word and as it is (sh(1), Quoting): in a command that people may copy. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
