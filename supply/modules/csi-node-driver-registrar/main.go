// Command csi-node-driver-registrar tells the kubelet about a CSI driver that runs on the same node.
//
// It follows the kubelet's plugin registration protocol (k8s.io/kubelet/pkg/apis/pluginregistration/v1): it asks the
// driver for its name over the CSI Identity service, then serves that name and the driver's socket on a socket in the
// kubelet's registry folder, where the kubelet finds it. Options are those the SPIFFE CSI driver's deployments pass.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type registrar struct {
	registration.UnimplementedRegistrationServer
	driver     string
	socket     string
	registered atomic.Bool
	refused    chan error
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.driver,
		Endpoint:          r.socket,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		r.refused <- fmt.Errorf("the kubelet refused %s: %s", r.driver, status.Error)
	}
	r.registered.Store(status.PluginRegistered)
	log.Printf("registered=%t driver=%s", status.PluginRegistered, r.driver)
	return &registration.RegistrationStatusResponse{}, nil
}

// driverName asks the driver at the address who it is, until it answers or the context ends.
func driverName(ctx context.Context, address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "unix://" + address
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer connection.Close()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return "", fmt.Errorf("no CSI driver answers at %s: %w", address, err)
	}
	return info.GetName(), nil
}

func run(ctx context.Context) error {
	csiAddress := flag.String("csi-address", "/run/csi/socket", "socket of the CSI driver, as this container sees it")
	kubeletPath := flag.String("kubelet-registration-path", "", "socket of the CSI driver, as the kubelet sees it")
	registry := flag.String("plugin-registration-path", "/registration", "the kubelet's plugin registry folder")
	healthPort := flag.Int("health-port", 0, "port for /healthz; 0 serves none")
	flag.Int("v", 0, "accepted for compatibility; the log is always the same")
	flag.Parse()
	if *kubeletPath == "" {
		return errors.New("--kubelet-registration-path is required")
	}
	asking, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	name, err := driverName(asking, *csiAddress)
	if err != nil {
		return err
	}
	self := &registrar{driver: name, socket: *kubeletPath, refused: make(chan error, 1)}

	path := filepath.Join(*registry, name+"-reg.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, self)
	go func() { failed <- server.Serve(listener) }()
	defer server.Stop()

	if *healthPort != 0 {
		http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
			if !self.registered.Load() {
				http.Error(w, "not registered with the kubelet", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "ok")
		})
		go func() { failed <- http.ListenAndServe(fmt.Sprintf(":%d", *healthPort), nil) }()
	}
	log.Printf("serving driver=%s registry=%s", name, path)
	select {
	case <-ctx.Done():
		return nil
	case err := <-self.refused:
		return err
	case err := <-failed:
		return err
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
