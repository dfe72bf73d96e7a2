"""A PyTorch worker that trains on real digits through a parameter server: pull, backward, push_gradients."""

import argparse
from pathlib import Path

import torch
from torch import nn

import paramserver_client as ps
from examples.digits.data import read_digits

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="http://127.0.0.1:8080")
parser.add_argument("--worker", type=int, default=0, help="0 is the chief: it creates the variables")
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--cache", type=Path, default=Path("digits.npy"), help="where the parsed digits are kept")


def network() -> nn.Module:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    convolutions += [nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16 * 7 * 7, 10))


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    (inputs, labels), (test_inputs, test_labels) = (
        (torch.from_numpy(digits.images).permute(0, 3, 1, 2), torch.from_numpy(digits.labels).long())
        for digits in read_digits(arguments.cache)
    )
    mine = torch.arange(arguments.worker, len(labels), arguments.workers)
    model = network()
    parameters = {f"digits/{name}": parameter for name, parameter in model.named_parameters()}
    memory = {name: parameter.detach().numpy() for name, parameter in parameters.items()}  # the model's own, not a copy

    with ps.ParameterClient(arguments.url) as client:
        if arguments.worker == 0:
            for name, value in memory.items():
                client.create_variable(name, value=value, reuse="auto")
            client.create_optimizer("digits_sgd", "momentum", learning_rate=0.02, momentum=0.9)
            client.create_variable("digits/step", value=0, trainable=False, reuse="auto")
        client.wait_until_initialized([*memory, "digits/step"], timeout_s=60)

        for epoch in range(arguments.epochs):
            for batch in mine[torch.randperm(len(mine))].split(50):
                client.pull(out=memory)  # straight into the model
                loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
                model.zero_grad()
                loss.backward()
                gradients = {name: parameter.grad.numpy() for name, parameter in parameters.items()}
                applied = client.push_gradients(gradients, optimizer="digits_sgd", global_step="digits/step")
            print(
                f"worker {arguments.worker}, epoch {epoch + 1}, step {applied.global_step}, loss {loss:.3f}", flush=True
            )

        client.pull(out=memory)
        with torch.no_grad():
            accuracy = (model(test_inputs).argmax(1) == test_labels).float().mean()
        print(f"worker {arguments.worker}: held-out accuracy {accuracy:.1%}", flush=True)


if __name__ == "__main__":
    main(parser.parse_args())
