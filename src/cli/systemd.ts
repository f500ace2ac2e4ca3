import { spawn } from 'node:child_process';

/**
 * Says to systemd that the service is ready, if it has asked for that (Type=notify). By its own program:
 * sd_notify(3) goes to a datagram socket in the file system, which Node does not have.
 */
export function tellSystemd(): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const notify = spawn('systemd-notify', ['--ready'], { stdio: ['ignore', 'ignore', 'inherit'] });
  notify.once('error', (error) => {
    process.stderr.write(`systemd cannot be told that it is mounted: ${error.message}\n`);
  });
}
