package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"sipvigil/cmd/sipvigil/daemon"
)

func (t *tool) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the B2BUA",
		Long: `Run the B2BUA until SIGINT or SIGTERM.

Without a configuration it listens on udp and tcp 127.0.0.1:5060, takes calls
from this host only, routes them by their Request-URI, keeps them in memory,
and shows them on http://127.0.0.1:8080.

A flag goes before its variable (SIPVIGIL_…), that before the file, and that
before the default.`,
		Args: arguments(0, 0),
	}
	configFlags(cmd.Flags())
	cmd.Flags().String("log-level", "", "`LEVEL` of what is logged: debug, info, warn or error (SIPVIGIL_LOG_LEVEL, default info)")
	complete(cmd, "log-level", "debug", "info", "warn", "error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		level, levelErr := t.logLevel(cmd)
		cfg, err := t.load(cmd)
		if err := errors.Join(err, levelErr); err != nil {
			return usage(err)
		}
		signal.Ignore(syscall.SIGPIPE) // calls outlive who reads the log
		out := &logWriter{to: t.stderr}
		defer out.end()
		log := loggerTo(out, t.stderr, level)
		tuning, stop := context.WithCancel(cmd.Context())
		var tuned sync.WaitGroup
		tuned.Go(func() { tuneCollector(tuning) })
		defer tuned.Wait()
		defer stop()
		d, err := daemon.New(cfg, log)
		if err != nil {
			return usage(err)
		}
		if err := d.Run(cmd.Context()); err != nil {
			return failed(err)
		}
		return nil
	}
	return cmd
}

// configFlags are the flags that set a part of the configuration. Their values
// are texts, so that daemon.Load can name all faults at once.
func configFlags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.String("config", "", "`FILE` with the configuration in YAML (SIPVIGIL_CONFIG)")
	fs.StringArray("listen", nil, "`URI` to listen on, such as udp://0.0.0.0:5060; may be repeated")
	fs.String("next-hop", "", "`URI` that every call is sent to, such as sip:192.0.2.10:5060")
	fs.String("store", "", "`URL` of the store: embedded, or redis://host:6379/0")
	fs.String("data", "", "`DIR` of the embedded store's journal, from which a restart reads calls back")
	fs.String("admin", "", "`ADDR` of the HTTP API and page, host:port")
	fs.String("probe-interval", "", "time `D` between two probes of a leg, such as 30s; 0 for none")
	fs.String("probe-timeout", "", "time `D` that a probe waits for its answer")
	fs.String("probe-misses", "", "number `N` of probes missed in a row that make a leg silent")
	fs.String("node", "", "`NAME` of this process among those that share a store")
}

// load reads the configuration that a command line asks for.
func (t *tool) load(cmd *cobra.Command) (daemon.Config, error) {
	given := make(map[string][]string)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[f.Name] = list.GetSlice()
		} else {
			given[f.Name] = []string{f.Value.String()}
		}
	})
	path := t.getenv("SIPVIGIL_CONFIG")
	if values, ok := given["config"]; ok {
		path = values[0]
	}
	return daemon.Load(path, t.getenv, given)
}

func (t *tool) logLevel(cmd *cobra.Command) (zapcore.Level, error) {
	origin, text := "--log-level", cmd.Flag("log-level").Value.String()
	if env := t.getenv("SIPVIGIL_LOG_LEVEL"); text == "" && env != "" {
		origin, text = "SIPVIGIL_LOG_LEVEL", env
	}
	switch text {
	case "", "info":
		return zap.InfoLevel, nil
	case "debug":
		return zap.DebugLevel, nil
	case "warn":
		return zap.WarnLevel, nil
	case "error":
		return zap.ErrorLevel, nil
	default:
		return 0, fmt.Errorf("%s: %q is none of debug, info, warn, error", origin, text)
	}
}

// newLogger writes lines for a reader to a terminal, and JSON to anything else.
func newLogger(w io.Writer, level zapcore.Level) *zap.Logger {
	return loggerTo(zapcore.Lock(zapcore.AddSync(w)), w, level)
}

// loggerTo is newLogger with something in between.
func loggerTo(out zapcore.WriteSyncer, w io.Writer, level zapcore.Level) *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey = "time"
	c.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00")
	encoder := zapcore.NewJSONEncoder(c)
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		c.EncodeDuration = zapcore.StringDurationEncoder
		c.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(zapcore.NewCore(encoder, out, level))
}
