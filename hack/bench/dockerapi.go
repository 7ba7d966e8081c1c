package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// A dockerAPI asks an engine by its socket.
type dockerAPI struct{ http *http.Client }

func newDockerAPI(socket string) *dockerAPI {
	var dialer net.Dialer
	return &dockerAPI{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 200, // that none is made while the clock runs
	}}}
}

// call sends body, if there is one, as JSON or as it is, and reads the answer into reply
// if that is not nil.
func (a *dockerAPI) call(ctx context.Context, method, path string, body, reply any) error {
	var reader io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case []byte:
		reader, kind = bytes.NewReader(b), "application/x-tar"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	response, err := a.send(ctx, method, path, kind, reader)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || reply == nil {
		return err
	}
	return json.Unmarshal(answer, reply)
}

// send returns an answer that is no error, whose body is still to come.
func (a *dockerAPI) send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", kind)
	response, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		answer, _ := io.ReadAll(response.Body)
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, bytes.TrimSpace(answer))
	}
	return response, nil
}

// ping asks whether the engine answers.
func (a *dockerAPI) ping(ctx context.Context) error {
	return a.call(ctx, http.MethodGet, "/_ping", nil, nil)
}

// load imports a file system as an image.
func (a *dockerAPI) load(ctx context.Context, name string) error {
	layer, err := busybox()
	if err != nil {
		return err
	}
	repository, tag, _ := strings.Cut(name, ":")
	query := url.Values{"fromSrc": {"-"}, "repo": {repository}, "tag": {tag}}
	return a.call(ctx, http.MethodPost, "/images/create?"+query.Encode(), layer, nil)
}

// create makes a container and returns its ID.
func (a *dockerAPI) create(ctx context.Context, container map[string]any) (string, error) {
	var reply struct{ ID string }
	err := a.call(ctx, http.MethodPost, "/containers/create", container, &reply)
	return reply.ID, err
}

func (a *dockerAPI) start(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil)
}

// await returns what waits until the container ended and is no more, and then returns its
// exit code. The engine watches from now on.
func (a *dockerAPI) await(ctx context.Context, id string) (end func() (int, error), err error) {
	response, err := a.send(ctx, http.MethodPost, "/containers/"+id+"/wait?condition=removed", "", nil)
	if err != nil {
		return nil, err
	}
	return func() (int, error) {
		defer response.Body.Close()
		var reply struct {
			StatusCode int
			Error      *struct{ Message string }
		}
		err := json.NewDecoder(response.Body).Decode(&reply)
		if err == nil && reply.Error != nil && reply.Error.Message != "" {
			err = fmt.Errorf("container %s: %s", id, reply.Error.Message)
		}
		return reply.StatusCode, err
	}, nil
}

// remove removes a container that may run.
func (a *dockerAPI) remove(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodDelete, "/containers/"+id+"?force=true", nil, nil)
}

func (a *dockerAPI) connect(ctx context.Context, network, id string) error {
	return a.call(ctx, http.MethodPost, "/networks/"+network+"/connect", map[string]any{"Container": id}, nil)
}

func (a *dockerAPI) disconnect(ctx context.Context, network, id string) error {
	return a.call(ctx, http.MethodPost, "/networks/"+network+"/disconnect", map[string]any{"Container": id}, nil)
}
