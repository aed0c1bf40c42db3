// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"strings"
)

// opFlag says what a command may do.
type opFlag uint8

const (
	opWrite opFlag = 1 << iota
	opMasterOnly
	opMayWrite
	opBanned
)

// masterOnly says that a replica must not get the command.
func (f opFlag) masterOnly() bool { return f&(opWrite|opMayWrite|opMasterOnly) != 0 }

// readOnly says that nobody misses the command if its client is gone.
func (f opFlag) readOnly() bool { return f&(opWrite|opMayWrite) == 0 }

const maxOpLen = 64

var (
	errBadCommand = errors.New("bad multi-bulk for command")
	errBadOpLen   = errors.New("bad command length, too short or too long")
)

// The commands of Redis 3.2, by what a proxy does with them. Anything else passes as one that may write.
const (
	readOps = `AUTH BITCOUNT BITPOS COMMAND DUMP ECHO EXISTS GEODIST GEOHASH GEOPOS GET GETBIT GETRANGE HEXISTS
		HGET HGETALL HKEYS HLEN HMGET HSTRLEN HVALS INFO LINDEX LLEN LRANGE MGET PFCOUNT PFSELFTEST PING PTTL
		PUBSUB QUIT ROLE SCARD SDIFF SELECT SINTER SISMEMBER SLOTSHASHKEY SLOTSMAPPING SMEMBERS SRANDMEMBER
		STRLEN SUBSTR SUNION TTL TYPE ZCARD ZCOUNT ZLEXCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE
		ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCORE`
	masterOps = `HSCAN SLOTSINFO SLOTSSCAN SSCAN ZSCAN`
	writeOps  = `APPEND BITFIELD DECR DECRBY DEL EVAL EVALSHA EXPIRE EXPIREAT GEOADD GEORADIUS GEORADIUSBYMEMBER
		GETSET HDEL HINCRBY HINCRBYFLOAT HMSET HSET HSETNX INCR INCRBY INCRBYFLOAT LINSERT LPOP LPUSH LPUSHX
		LREM LSET LTRIM MSET PERSIST PEXPIRE PEXPIREAT PFADD PFDEBUG PFMERGE PSETEX RPOP RPOPLPUSH RPUSH RPUSHX
		SADD SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SINTERSTORE SLOTSRESTORE SMOVE SORT SPOP SREM
		SUNIONSTORE TOUCH ZADD ZINCRBY ZINTERSTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE
		ZUNIONSTORE`
	bannedOps = `ASKING BGREWRITEAOF BGSAVE BITOP BLPOP BRPOP BRPOPLPUSH CLIENT CLUSTER CONFIG DBSIZE DEBUG
		DISCARD EXEC FLUSHALL FLUSHDB HOST: KEYS LASTSAVE LATENCY MIGRATE MONITOR MOVE MSETNX MULTI OBJECT POST
		PSUBSCRIBE PSYNC PUBLISH PUNSUBSCRIBE RANDOMKEY READONLY READWRITE RENAME RENAMENX REPLCONF RESTORE
		RESTORE-ASKING SAVE SCAN SCRIPT SHUTDOWN SLAVEOF SLOTSCHECK SLOTSDEL SLOTSMGRTONE SLOTSMGRTSLOT
		SLOTSMGRTTAGONE SLOTSMGRTTAGSLOT SLOTSMGRTONE-ASYNC SLOTSMGRTSLOT-ASYNC SLOTSMGRTTAGONE-ASYNC
		SLOTSMGRTTAGSLOT-ASYNC SLOTSMGRT-ASYNC-FENCE SLOTSMGRT-ASYNC-CANCEL SLOTSMGRT-ASYNC-STATUS
		SLOTSMGRT-EXEC-WRAPPER SLOTSRESTORE-ASYNC SLOTSRESTORE-ASYNC-AUTH SLOTSRESTORE-ASYNC-ACK SLOWLOG
		SUBSCRIBE SYNC TIME UNSUBSCRIBE UNWATCH WAIT WATCH`
)

var opTable = newOpTable()

func newOpTable() map[string]opFlag {
	table := map[string]opFlag{}
	for ops, flag := range map[string]opFlag{
		readOps: 0, masterOps: opMasterOnly, writeOps: opWrite, bannedOps: opBanned,
	} {
		for op := range strings.FieldsSeq(ops) {
			table[op] = flag
		}
	}
	return table
}

// opNames avoids an allocation for the name of a known command.
var opNames = func() map[string]string {
	names := map[string]string{}
	for op := range opTable {
		names[op] = op
	}
	return names
}()

// classify names a request and says what it may do. Names with anything but letters and a colon in them are not
// looked up, so that banned commands with a dash pass, as upstream.
func classify(words [][]byte) (op string, flag opFlag, err error) {
	if len(words) < 1 {
		return "", 0, errBadCommand
	}
	name := words[0]
	if len(name) == 0 || len(name) > maxOpLen {
		return "", 0, errBadOpLen
	}
	var upper [maxOpLen]byte
	for i, c := range name {
		switch {
		case c >= 'a' && c <= 'z':
			upper[i] = c - 'a' + 'A'
		case c >= 'A' && c <= 'Z' || c == ':':
			upper[i] = c
		default:
			return strings.ToUpper(string(name)), opMayWrite, nil
		}
	}
	if op, known := opNames[string(upper[:len(name)])]; known {
		return op, opTable[op], nil
	}
	return string(upper[:len(name)]), opMayWrite, nil
}
