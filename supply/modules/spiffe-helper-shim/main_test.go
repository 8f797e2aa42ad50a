package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The keys that the charts 0.17 to 0.23 set, with values of this test's own. Nothing listens at the address.
const configuration = `
agent_address = "FOLDER/absent.sock"
cert_dir = "FOLDER"
svid_file_name = "leaf.pem"
svid_key_file_name = "leaf.key"
svid_bundle_file_name = "roots.pem"
`

func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_SHIM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// shim is this test's own program, run as the shim.
func shim(ctx context.Context, t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, own, arguments...)
	command.Env = append(os.Environ(), "RUN_AS_SHIM=1")
	return command
}

func TestTranslate(t *testing.T) {
	for _, test := range []struct{ name, old, today string }{
		{"the init container's", "-config /etc/h.conf -exitWhenReady", "-config /etc/h.conf -daemon-mode=false"},
		{"the sidecar's", "-config /etc/h.conf", "-config /etc/h.conf"},
		{"two dashes", "--exitWhenReady --config=h.conf", "-daemon-mode=false --config=h.conf"},
		{"true", "-exitWhenReady=true", "-daemon-mode=false"},
		{"false", "--exitWhenReady=0", "-daemon-mode=true"},
		{"no boolean", "-exitWhenReady=soon", "-exitWhenReady=soon"},
		{"an empty value", "-exitWhenReady=", "-exitWhenReady="},
		{"today's", "-config h.conf -daemon-mode=false", "-config h.conf -daemon-mode=false"},
		{"a longer name", "-exitWhenReadyOrNot exitWhenReady", "-exitWhenReadyOrNot exitWhenReady"},
		{"nothing", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if found := translate(strings.Fields(test.old)); !slices.Equal(found, strings.Fields(test.today)) {
				t.Errorf("%s became %q, not %s", test.old, found, test.today)
			}
		})
	}
}

func TestTheProgramTakesTheProcesssPlace(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	script := "#!/bin/sh\necho $$ \"$RUN_AS_SHIM\" \"$@\"\nexit 3\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	command := shim(t.Context(), t, program, "-exitWhenReady", "two words")
	command.Stdout = &output
	err := command.Run()
	var exited *exec.ExitError
	if !errors.As(err, &exited) || exited.ExitCode() != 3 {
		t.Errorf("ended with %v, not with the program's 3", err)
	}
	words := strings.SplitN(strings.TrimSpace(output.String()), " ", 2)
	if words[0] != strconv.Itoa(command.Process.Pid) || words[1] != "1 -daemon-mode=false two words" {
		t.Errorf("process %d printed %q", command.Process.Pid, output.String())
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	output, err := shim(t.Context(), t, "/no/such/program").CombinedOutput()
	if err == nil || !strings.HasPrefix(string(output), "/no/such/program cannot be started: ") {
		t.Errorf("ended with %v and printed %q", err, output)
	}
}

func TestWithoutAProgramTheUsageIsPrinted(t *testing.T) {
	output, err := shim(t.Context(), t).CombinedOutput()
	if err == nil || !strings.HasPrefix(string(output), "usage: ") {
		t.Errorf("ended with %v and printed %q", err, output)
	}
}

// The helper that is built today, asked as those charts ask theirs: it accepts the command line and the configuration,
// and goes on to ask the Workload API.
func TestTodaysHelperAcceptsWhatTheOldChartsGiveIt(t *testing.T) {
	helper := builtHelper(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "helper.conf")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(configuration, "FOLDER", folder)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ option, accepted string }{
		{"-exitWhenReady", "Daemon mode disabled"},
		{"-exitWhenReady=false", "Launching daemon"},
	} {
		t.Run(test.option, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			command := shim(ctx, t, helper, "-config", file, test.option)
			printed, err := command.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			var output strings.Builder
			for lines := bufio.NewScanner(printed); !strings.Contains(output.String(), test.accepted) && lines.Scan(); {
				output.WriteString(lines.Text() + "\n")
			}
			cancel() // the daemon would go on asking
			_ = command.Wait()
			if !strings.Contains(output.String(), test.accepted) {
				t.Errorf("%q is not in what the helper printed:\n%s", test.accepted, output.String())
			}
		})
	}
	t.Run("without the shim", func(t *testing.T) {
		output, err := exec.CommandContext(t.Context(), helper, "-config", file, "-exitWhenReady").CombinedOutput()
		if err == nil || !strings.Contains(string(output), "not defined: -exitWhenReady") {
			t.Errorf("the helper needs no shim: it ended with %v and printed\n%s", err, output)
		}
	})
}

// builtHelper builds spiffe-helper at the version of the module beside this one, and returns its path.
func builtHelper(t *testing.T) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "tool", "-n", "spiffe-helper")
	command.Dir = "../spiffe-helper"
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go tool -n spiffe-helper: %v", err)
	}
	return strings.TrimSpace(string(output))
}
