// The `etcd3` client against the servers named in the arguments: its own recipes, as its users write
// them. Prints `restart` when it wants a server to go away and come back, and goes on when it is told
// so by a line. Ends with 0 when all that it saw was right.
'use strict';
const assert = require('node:assert');
const path = require('node:path');
const readline = require('node:readline');
const { Etcd3, EtcdLockFailedError } = require(path.join(process.env.NODE_CLIENTS, 'etcd3'));

const { ConnectionPool } = require(path.join(process.env.NODE_CLIENTS, 'etcd3/lib/connection-pool'));

// The first that is named is the one that is asked, and watched, as long as it answers.
ConnectionPool.deterministicOrder = true;
const hosts = process.argv.slice(2).reverse();
const SOON_MS = 30_000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits for an event, and takes its first argument. */
function once(emitter, name) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${name} in time`)), SOON_MS);
    emitter.once(name, (value) => {
      clearTimeout(late);
      resolve(value);
    });
  });
}

/** Tries until it is right. */
async function eventually(what, check) {
  const until = Date.now() + SOON_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) throw new Error(`${what}: ${error.message}`);
      await pause(100);
    }
  }
}

async function keys(client) {
  await client.put('k/1').value('one');
  await client.put('k/2').value(JSON.stringify({ two: 2 }));
  assert.deepStrictEqual(await client.getAll().prefix('k/').keys(), ['k/1', 'k/2']);
  assert.strictEqual(await client.get('k/1').string(), 'one');
  assert.deepStrictEqual(await client.get('k/2').json(), { two: 2 });
  assert.strictEqual(await client.get('k/none').string(), null);
  const done = await client
    .if('k/1', 'Value', '==', 'one')
    .then(client.put('k/1').value('uno'))
    .else(client.get('k/1'))
    .commit();
  assert.strictEqual(done.succeeded, true);
  const counted = await client.stm().transact(async (tx) => {
    const before = Number((await tx.get('k/count')) ?? 0);
    await tx.put('k/count').value(String(before + 1));
    return before + 1;
  });
  assert.strictEqual(counted, 1);
  assert.strictEqual((await client.delete().prefix('k/')).deleted, '3');
}

async function leases(client) {
  const lease = client.lease(2);
  await lease.put('l/held').value('x');
  // It is kept alive for longer than it would live.
  await pause(4000);
  assert.strictEqual(await client.get('l/held').string(), 'x');
  await lease.revoke();
  assert.strictEqual(await client.get('l/held').string(), null);
  const lost = client.lease(60);
  const id = await lost.grant();
  const told = once(lost, 'lost');
  await client.leaseClient.leaseRevoke({ ID: id });
  // It learns of it when it renews.
  await lost.keepaliveOnce().catch(() => {});
  await told;
}

async function locks(client, other) {
  const lock = client.lock('lock');
  await lock.acquire();
  await assert.rejects(other.lock('lock').acquire(), EtcdLockFailedError);
  await lock.release();
  assert.strictEqual(await other.lock('lock').do(async () => 'mine'), 'mine');
}

async function elections(client, other) {
  const [first, second] = [client.election('e', 5).campaign('one'), other.election('e', 5)];
  await once(first, 'elected');
  const observer = await second.observe();
  assert.strictEqual(observer.leader(), 'one');
  const heir = second.campaign('two');
  await first.proclaim('uno');
  await eventually('what the leader says', () => assert.strictEqual(observer.leader(), 'uno'));
  const elected = once(heir, 'elected');
  await first.resign();
  await elected;
  await eventually('the next leader', () => assert.strictEqual(observer.leader(), 'two'));
  await heir.resign();
  await observer.cancel();
}

async function watches(client, lines) {
  const watcher = await client.watch().prefix('w/').create();
  const seen = [];
  watcher.on('put', (kv) => seen.push(`${kv.key}=${kv.value}`));
  watcher.on('delete', (kv) => seen.push(`${kv.key} gone`));
  await client.put('w/1').value('a');
  await client.delete().key('w/1');
  await eventually('the first events', () => assert.deepStrictEqual(seen, ['w/1=a', 'w/1 gone']));
  console.log('restart');
  await lines.next();
  // A put whose answer was lost may have been done: it is made only if it is missing.
  const put = (key, value) => eventually(`${key} is put`, async () => {
    const done = client.if(key, 'Version', '==', 0).then(client.put(key).value(value));
    await done.else(client.get(key)).commit();
    assert.strictEqual(await client.get(key).string(), value);
  });
  const all = ['w/1=a', 'w/1 gone'];
  for (let number = 2; number < 20; number++) {
    await put(`w/${number}`, 'b');
    all.push(`w/${number}=b`);
  }
  // Each once, and in order.
  await eventually('the events after it', () => {
    assert.ok(seen.length >= all.length, `${seen.length} events of ${all.length}`);
  });
  assert.deepStrictEqual(seen, all);
  await watcher.cancel();
}

async function main() {
  const open = () => new Etcd3({ hosts, defaultCallOptions: () => ({ deadline: Date.now() + SOON_MS }) });
  // A watch and a keep-alive are calls that last: they get no deadline.
  const [client, other] = [new Etcd3({ hosts }), new Etcd3({ hosts })];
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (const [name, run] of [
    ['keys', () => keys(open())],
    ['leases', () => leases(client)],
    ['locks', () => locks(client, other)],
    ['elections', () => elections(client, other)],
    ['watches', () => watches(client, lines)],
  ]) {
    await run();
    console.log(`${name} done`);
  }
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
