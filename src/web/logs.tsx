import type { Moment } from './history.js';
import { termColour } from './ring.js';

/** Entries that a strip shows. */
const SHOWN = 32;

/** Each node's log: one box an entry, in the colour of its term; committed ones are filled. */
export function Logs({ moments }: { moments: readonly Moment[] }) {
  const end = Math.max(0, ...moments.map(({ document }) => document.lastIndex));
  const first = Math.max(1, end - SHOWN + 1);
  const indexes = Array.from({ length: end - first + 1 }, (_, i) => first + i);
  return (
    <section class="logs" aria-label="logs">
      <h2>
        Logs{' '}
        <small>
          entries {first} to {end}; colour: term; filled: committed; bar: applied
        </small>
      </h2>
      <table>
        <tbody>
          {moments.map(({ document: d, up }) => (
            <tr key={d.id} data-log={d.id} class={up ? '' : 'dead'}>
              <th scope="row">{d.id}</th>
              <td>
                <div class="strip">
                  {indexes.map((index) => (
                    <Entry key={index} moment={{ document: d, up, atMs: 0 }} index={index} />
                  ))}
                </div>
              </td>
              <td class="figures">
                {d.commitIndex}/{d.lastIndex}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Entry({ moment: { document: d }, index }: { moment: Moment; index: number }) {
  const term = d.log.terms[index - d.log.first];
  if (term === undefined) {
    const compacted = index <= d.snapshotIndex;
    return <span class={compacted ? 'entry compacted' : 'entry none'} />;
  }
  const committed = index <= d.commitIndex;
  const kind = `entry ${committed ? 'committed' : 'open'} ${index === d.appliedIndex ? 'applied' : ''}`;
  return (
    <span
      class={kind}
      style={{ '--term': termColour(term) }}
      data-term={term}
      title={`entry ${index}, term ${term}, ${committed ? 'committed' : 'not committed'}`}
    />
  );
}
