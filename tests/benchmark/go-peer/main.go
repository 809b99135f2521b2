// A provisioner on the Go library, with a store in memory: what the benchmark compares libbucket with.
//
// It takes the flags that the benchmark gives to every provisioner, and answers what the benchmark asks: /readyz, and
// /metrics, without any. The client's rate limit is raised to 1000 requests per second, from 5 by default.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"
	"sync"

	"github.com/kube-object-storage/lib-bucket-provisioner/pkg/apis/objectbucket.io/v1alpha1"
	"github.com/kube-object-storage/lib-bucket-provisioner/pkg/provisioner"
	"github.com/kube-object-storage/lib-bucket-provisioner/pkg/provisioner/api"
	"k8s.io/client-go/tools/clientcmd"
)

const name = "peer.example.com/bucket"

// store remembers the names of buckets.
type store struct {
	mutex   sync.Mutex
	buckets map[string]string
}

func (s *store) GenerateUserID(claim *v1alpha1.ObjectBucketClaim, _ *v1alpha1.ObjectBucket) (string, error) {
	return claim.Namespace + "-" + claim.Name, nil
}

func (s *store) Provision(options *api.BucketOptions) (*v1alpha1.ObjectBucket, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.buckets[options.BucketName] = options.UserID
	return &v1alpha1.ObjectBucket{Spec: v1alpha1.ObjectBucketSpec{Connection: &v1alpha1.Connection{
		Endpoint: &v1alpha1.Endpoint{BucketHost: "store.invalid", BucketPort: 443, BucketName: options.BucketName},
		Authentication: &v1alpha1.Authentication{
			AccessKeys: &v1alpha1.AccessKeys{AccessKeyID: options.UserID, SecretAccessKey: "secret-of-the-benchmark"},
		},
		AdditionalState: map[string]string{"UserName": options.UserID},
	}}}, nil
}

func (s *store) Grant(options *api.BucketOptions) (*v1alpha1.ObjectBucket, error) {
	return s.Provision(options)
}

func (s *store) Delete(bucket *v1alpha1.ObjectBucket) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.buckets, bucket.Spec.Endpoint.BucketName)
	return nil
}

func (s *store) Revoke(bucket *v1alpha1.ObjectBucket) error {
	return s.Delete(bucket)
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "of the cluster")
	address := flag.String("bind-address", "127.0.0.1:8080", "of /readyz and /metrics")
	flag.Parse()
	log.SetOutput(io.Discard)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		panic(err)
	}
	config.QPS, config.Burst = 1000, 1000
	made, err := provisioner.NewProvisioner(config, name, &store{buckets: map[string]string{}}, "")
	if err != nil {
		panic(err)
	}
	ok := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	http.HandleFunc("/readyz", ok)
	http.HandleFunc("/metrics", ok)
	go func() { panic(http.ListenAndServe(*address, nil)) }()
	panic(made.Run(make(chan struct{})))
}
