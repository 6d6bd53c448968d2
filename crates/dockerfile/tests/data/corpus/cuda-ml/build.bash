from nvidia/cuda:12.5.1-cudnn-runtime-ubuntu22.04 cuda
check() {
  prints 'base.yaml:small deep/large.yaml:large' run --entrypoint python "$image" train/train.py
  prints gone run --entrypoint sh "$image" -c 'test -e train/notes.txt || echo gone'
  has '{{json .Config.Entrypoint}} {{.Config.WorkingDir}}' '["python","train.py"] /workspace'
}
