// What programs in Go do with etcd's own client: keys, transactions, leases, locks, elections,
// counters, and a watcher that outlives a restart. It says "restart", goes on after a line on its
// standard input, and says "watches done" at its end. Its arguments are the endpoints.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
)

// Longer than anything takes on a busy machine.
const patience = 60 * time.Second

const events = 20

func main() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: os.Args[1:], DialTimeout: patience, Logger: zap.NewNop(), RejectOldCluster: true,
	})
	must(err)
	defer client.Close()
	keys(client)
	leases(client)
	locks(client)
	elections(client)
	counters(client)
	watches(client)
	fmt.Println("watches done")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(holds bool, format string, arguments ...any) {
	if !holds {
		panic(fmt.Sprintf(format, arguments...))
	}
}

func soon() context.Context {
	ctx, _ := context.WithTimeout(context.Background(), patience) //nolint:govet // The process is short.
	return ctx
}

// Keys in order, a page at a time and at a revision; a transaction each way; a namespace; a copy.
func keys(client *clientv3.Client) {
	for number := range 10 {
		_, err := client.Put(soon(), fmt.Sprintf("keys/%d", number), strconv.Itoa(number))
		must(err)
	}
	page, err := client.Get(soon(), "keys/", clientv3.WithPrefix(), clientv3.WithLimit(4),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	must(err)
	check(page.More && page.Count == 10 && string(page.Kvs[0].Key) == "keys/9", "%v", page)
	before := page.Header.Revision
	deleted, err := client.Delete(soon(), "keys/0", clientv3.WithRange("keys/5"), clientv3.WithPrevKV())
	must(err)
	check(deleted.Deleted == 5 && len(deleted.PrevKvs) == 5, "%v", deleted)
	old, err := client.Get(soon(), "keys/", clientv3.WithPrefix(), clientv3.WithRev(before), clientv3.WithCountOnly())
	must(err)
	check(old.Count == 10, "%v", old)

	swap := func(expected, value string) bool {
		answer, err := client.Txn(soon()).
			If(clientv3.Compare(clientv3.Value("keys/7"), "=", expected)).
			Then(clientv3.OpPut("keys/7", value)).
			Else(clientv3.OpGet("keys/7")).
			Commit()
		must(err)
		return answer.Succeeded
	}
	check(swap("7", "new") && !swap("7", "newer"), "a swap")

	below := namespace.NewKV(client.KV, "below/")
	_, err = below.Put(soon(), "a", "1")
	must(err)
	whole, err := client.Get(soon(), "below/a")
	must(err)
	check(whole.Count == 1, "%v", whole)

	copied := map[string]string{}
	pages, failed := mirror.NewSyncer(client, "keys/", 0).SyncBase(soon())
	for page := range pages {
		for _, kv := range page.Kvs {
			copied[string(kv.Key)] = string(kv.Value)
		}
	}
	must(<-failed)
	check(len(copied) == 5 && copied["keys/7"] == "new", "%v", copied)

	_, err = client.Compact(soon(), before)
	must(err)
	_, err = client.Get(soon(), "keys/", clientv3.WithPrefix(), clientv3.WithRev(before-1))
	check(errors.Is(err, rpctypes.ErrCompacted), "%v", err)
}

// A lease that is kept alive lasts, and takes its keys along.
func leases(client *clientv3.Client) {
	lease, err := client.Grant(soon(), 5)
	must(err)
	_, err = client.Put(soon(), "leased", "1", clientv3.WithLease(lease.ID))
	must(err)
	kept, err := client.KeepAlive(soon(), lease.ID)
	must(err)
	for range 2 {
		answer, isOpen := <-kept
		check(isOpen && answer.TTL == 5, "%v", answer)
	}
	left, err := client.TimeToLive(soon(), lease.ID, clientv3.WithAttachedKeys())
	must(err)
	check(left.TTL > 0 && len(left.Keys) == 1, "%v", left)
	_, err = client.Revoke(soon(), lease.ID)
	must(err)
	gone, err := client.Get(soon(), "leased")
	must(err)
	check(gone.Count == 0, "%v", gone)
	_, err = client.Put(soon(), "leased", "1", clientv3.WithLease(lease.ID))
	check(errors.Is(err, rpctypes.ErrLeaseNotFound), "%v", err)
}

// Many want a lock; each reads and writes while it has it, and no count is lost.
func locks(client *clientv3.Client) {
	const holders, turns = 4, 5
	var group sync.WaitGroup
	for range holders {
		group.Add(1)
		go func() {
			defer group.Done()
			session, err := concurrency.NewSession(client)
			must(err)
			defer session.Close()
			mutex := concurrency.NewMutex(session, "lock")
			for range turns {
				must(mutex.Lock(soon()))
				count := 0
				found, err := client.Get(soon(), "locked")
				must(err)
				if found.Count > 0 {
					count, err = strconv.Atoi(string(found.Kvs[0].Value))
					must(err)
				}
				// Only as the owner: what a lock is good for.
				written, err := client.Txn(soon()).If(mutex.IsOwner()).
					Then(clientv3.OpPut("locked", strconv.Itoa(count+1))).Commit()
				must(err)
				check(written.Succeeded, "not the owner")
				must(mutex.Unlock(soon()))
			}
		}()
	}
	group.Wait()
	found, err := client.Get(soon(), "locked")
	must(err)
	check(string(found.Kvs[0].Value) == strconv.Itoa(holders*turns), "%v", found)
}

// The second leads when the first resigns, and an observer sees both.
func elections(client *clientv3.Client) {
	one, err := concurrency.NewSession(client)
	must(err)
	two, err := concurrency.NewSession(client)
	must(err)
	first, second := concurrency.NewElection(one, "election"), concurrency.NewElection(two, "election")
	must(first.Campaign(soon(), "one"))
	observed := concurrency.NewElection(one, "election").Observe(soon())
	check(string((<-observed).Kvs[0].Value) == "one", "the first leads")
	leads := make(chan error, 1)
	go func() { leads <- second.Campaign(soon(), "two") }()
	must(first.Resign(soon()))
	must(<-leads)
	for answer := range observed {
		if string(answer.Kvs[0].Value) == "two" {
			break
		}
	}
	must(one.Close())
	must(two.Close())
}

// Transactions of software memory: all of them count.
func counters(client *clientv3.Client) {
	const clients = 8
	var group sync.WaitGroup
	for range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
				count, _ := strconv.Atoi(stm.Get("counter"))
				stm.Put("counter", strconv.Itoa(count+1))
				return nil
			}, concurrency.WithAbortContext(soon()))
			must(err)
		}()
	}
	group.Wait()
	found, err := client.Get(soon(), "counter")
	must(err)
	check(string(found.Kvs[0].Value) == strconv.Itoa(clients), "%v", found)
}

// Half of the events before a restart, half after: each once, in order.
func watches(client *clientv3.Client) {
	watched := client.Watch(clientv3.WithRequireLeader(context.Background()), "watched", clientv3.WithCreatedNotify())
	check((<-watched).Created, "no created")
	seen := make(chan string, 2*events)
	var watching sync.WaitGroup
	watching.Add(1)
	go func() {
		defer watching.Done()
		defer close(seen)
		from := int64(0)
		for count := 0; count < events; {
			answer, isOpen := <-watched
			if !isOpen || answer.Err() != nil {
				// It lost its leader: as programs do, it goes on from what it has.
				watched = client.Watch(clientv3.WithRequireLeader(context.Background()), "watched", clientv3.WithRev(from+1))
				continue
			}
			for _, event := range answer.Events {
				from = event.Kv.ModRevision
				seen <- string(event.Kv.Value)
				count++
			}
		}
	}()
	put := func(number int) {
		// A put without an answer may have happened: it is made only if it is missing.
		before := strconv.Itoa(number - 1)
		for {
			answer, err := client.Txn(soon()).
				If(clientv3.Compare(clientv3.Value("watched"), "=", before)).
				Then(clientv3.OpPut("watched", strconv.Itoa(number))).
				Else(clientv3.OpGet("watched")).
				Commit()
			if err == nil {
				check(answer.Succeeded || string(answer.Responses[0].GetResponseRange().Kvs[0].Value) == strconv.Itoa(number), "%v", answer)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	_, err := client.Put(soon(), "watched", "0")
	must(err)
	for number := 1; number < events/2; number++ {
		put(number)
	}
	fmt.Println("restart")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	must(err)
	for number := events / 2; number < events; number++ {
		put(number)
	}
	watching.Wait()
	next := 0
	for value := range seen {
		check(value == strconv.Itoa(next), "%s came, not %d", value, next)
		next++
	}
	check(next == events, "%d events", next)
}
