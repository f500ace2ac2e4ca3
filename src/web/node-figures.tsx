import type { Moment } from './history.js';

/** What the chosen node says of itself, in figures. */
export function NodeFigures({ moment }: { moment: Moment | undefined }) {
  if (moment === undefined) return null;
  const { document: d, up } = moment;
  const rows: readonly (readonly [string, string | number])[] = [
    ['address', d.address],
    ['log', `${d.log.first} to ${d.lastIndex}, committed ${d.commitIndex}`],
    ['tree', `applied ${d.appliedIndex}, hash ${d.stateHash}`],
    ['snapshot', d.snapshotIndex === 0 ? 'none' : `up to ${d.snapshotIndex}`],
    ['clients', d.clients],
    ['memory', `${Math.round(d.memoryBytes / 1_048_576)} MiB`],
    ['running', up ? duration(d.uptimeMs) : 'no'],
    ['version', d.version],
  ];
  return (
    <section aria-label={`figures of ${d.id}`}>
      <h2>{d.id}</h2>
      <dl class="node-figures">
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function duration(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}
