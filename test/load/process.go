package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process and its children have used so far, and hold.
type Usage struct {
	CPU time.Duration // user and system
	Sys time.Duration // system alone
	RSS int64         // bytes, shared pages counted in each process
	PSS int64         // bytes, shared pages counted once
}

// Sub is what was used since an earlier time.
func (u Usage) Sub(earlier Usage) Usage {
	return Usage{u.CPU - earlier.CPU, u.Sys - earlier.Sys, u.RSS - earlier.RSS, u.PSS - earlier.PSS}
}

// clockTick is the unit of /proc/PID/stat on Linux.
const clockTick = 10 * time.Millisecond

// Used reads what the process and its children have used, from /proc.
func Used(pid int) (Usage, error) {
	children, err := childrenByParent()
	if err != nil {
		return Usage{}, err
	}
	var sum Usage
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		todo = append(todo, children[todo[0]]...)
		u, err := usedBy(todo[0])
		if err != nil {
			return Usage{}, fmt.Errorf("process %d: %w", todo[0], err)
		}
		sum.CPU += u.CPU
		sum.Sys += u.Sys
		sum.RSS += u.RSS
		sum.PSS += u.PSS
	}
	return sum, nil
}

func childrenByParent() (map[int][]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		fields, err := statOf(pid)
		if err != nil {
			continue // it has ended
		}
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// statOf are the fields of /proc/PID/stat behind the command.
func statOf(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return nil, errors.New("stat is too short")
	}
	return fields, nil
}

func usedBy(pid int) (Usage, error) {
	fields, err := statOf(pid)
	if err != nil {
		return Usage{}, err
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	u := Usage{CPU: time.Duration(user+system) * clockTick, Sys: time.Duration(system) * clockTick}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); len(f) == 3 {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "Rss:":
				u.RSS = kb << 10
			case "Pss:":
				u.PSS = kb << 10
			}
		}
	}
	return u, nil
}
