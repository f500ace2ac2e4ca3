import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { NodeDocument } from '../control/document.js';
import type { NodeEvent } from '../control/events.js';
import { ControlLink } from '../control/link.js';
import { openSocket } from './socket.js';

function Page() {
  const [node, setNode] = useState<NodeDocument | null>(null);
  useEffect(() => {
    const link = new ControlLink<NodeDocument, NodeEvent>(location.host, openSocket, {
      onDocument: setNode,
      onEvents: () => undefined,
    });
    return () => link.close();
  }, []);
  if (node === null) return <p>connecting …</p>;
  return (
    <p>
      {node.id}: {node.role} in term {node.term}, committed up to {node.commitIndex}
    </p>
  );
}

const root = document.getElementById('page');
if (root !== null) {
  root.textContent = '';
  render(<Page />, root);
}
