"""The terms of the objective, for inputs whose loss is known."""

from __future__ import annotations

import torch

from stages.flow.warp import warp
from stages.networks.common import losses
from stages.networks.common.discriminator import MultiScaleDiscriminator
from stages.networks.common.discriminator_inputs import History, crop_region, square_boxes, video_window, windows


def test_the_warp_reads_each_pixel_where_the_flow_points():
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = 1
    warped = warp(image, flow)
    assert torch.allclose(warped[..., :-1], image[..., 1:], atol=1e-5)
    assert torch.allclose(warped[..., -1], image[..., -1], atol=1e-5)  # the border is repeated outside


def test_a_flow_that_leads_each_keypoint_to_its_source_costs_nothing():
    driving = torch.tensor([[[10.0, 12.0, 1.0], [30.0, 40.0, 1.0], [5.0, 5.0, 0.0]]])
    source = driving + torch.tensor([3.0, -2.0, 0.0])
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0], flow[:, 1] = 3, -2
    assert losses.keypoint_flow_loss(flow, driving, source) < 1e-5
    assert torch.isclose(losses.keypoint_flow_loss(flow * 0, driving, source), torch.tensor(5 * 10 / 64))


def test_the_mask_loss_rewards_using_a_right_warp_and_ignoring_a_wrong_one():
    truth = torch.zeros(1, 3, 8, 8)
    use_warp, ignore_warp = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    assert losses.mask_loss(use_warp, truth, truth) == 0 and losses.mask_loss(ignore_warp, truth, truth) == 1
    assert losses.mask_loss(use_warp, truth + 1, truth) == 1 and losses.mask_loss(ignore_warp, truth + 1, truth) == 0


def test_the_mask_loss_prefers_the_warp_up_to_half_its_tolerance():
    truth = torch.zeros(1, 3, 8, 8)
    use_warp, ignore_warp = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    for error, tolerance, prefers_warp in ((0.05, 0.2, True), (0.15, 0.2, False), (0.15, 0.6, True), (0.4, 0.6, False)):
        using, ignoring = (losses.mask_loss(mask, truth + error, truth, tolerance) for mask in (use_warp, ignore_warp))
        assert bool(using < ignoring) == prefers_warp
        assert torch.isclose(using, torch.tensor(error / tolerance))


def test_the_flow_loss_counts_only_where_the_teacher_is_confident():
    teacher, confidence = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)
    assert losses.flow_loss(teacher + 5, teacher, confidence) == 0
    assert losses.flow_loss(teacher + 5, teacher, confidence + 1) == 5 * 10 / 8


def test_the_hinge_loss_is_zero_when_real_and_fake_are_far_apart():
    real, fake = [[torch.full((1, 1, 2, 2), 2.0)]], [[torch.full((1, 1, 2, 2), -2.0)]]
    assert losses.discriminator_loss(real, fake) == 0
    assert losses.discriminator_loss(fake, real) == 6
    assert losses.generator_loss(fake) == 2  # not clipped, as in the public code


def test_feature_matching_ignores_the_last_layer():
    same, other = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    assert losses.feature_matching([[same, same]], [[other, other]]) == 1
    assert losses.feature_matching([[same, same]], [[same, other]]) == 0


def test_a_discriminator_scores_patches_of_video_windows_at_several_scales():
    frame, flow = torch.zeros(2, 3, 64, 64), torch.zeros(2, 2, 64, 64)
    outputs = MultiScaleDiscriminator(8, filters=8, scales=2)(video_window([frame, frame], [flow]))
    assert len(outputs) == 2
    assert outputs[0][-1].shape[1] == 1 and outputs[0][-1].shape[-1] > outputs[1][-1].shape[-1]


def test_the_attention_loss_prefers_the_example_of_the_same_shape_at_any_position():
    driving = torch.tensor([[[10.0, 10.0, 1.0], [20.0, 10.0, 1.0], [15.0, 20.0, 1.0]]])
    same, other = driving + torch.tensor([30.0, 5.0, 0.0]), driving * torch.tensor([0.2, 1.0, 1.0])
    examples = torch.stack([other, same], 1)
    right = losses.attention_loss(torch.tensor([[0.1, 0.9]]), driving, examples)
    wrong = losses.attention_loss(torch.tensor([[0.9, 0.1]]), driving, examples)
    assert right < 0.2 < 2 < wrong


def test_video_windows_exist_at_each_frame_rate_for_which_the_past_is_long_enough():
    frames = [torch.full((1, 3, 4, 4), float(t)) for t in range(5)]
    flows = [torch.full((1, 2, 4, 4), float(t)) for t in range(1, 5)]
    past = History(frames[:-1], [-frame for frame in frames[:-1]], flows)
    all_windows = windows(past, frames[-1], -frames[-1], frames=2, rates=4)

    assert [rate for rate, _, _ in all_windows] == [0, 1, 2]  # the past is too short for every 8th frame
    for rate, real, fake in all_windows:
        assert real[:, :3].unique().item() == 4 - 2**rate and real[:, 3:6].unique().item() == 4
        assert torch.equal(fake[:, :6], -real[:, :6])
        assert torch.equal(fake[:, 6:], real[:, 6:])  # the real flow for both
    composed = all_windows[2][1][:, 6:] * 4 / 10
    assert torch.allclose(composed, torch.full_like(composed, 1.0 + 2 + 3 + 4))  # of the four flows between the frames


def test_the_second_of_two_composed_flows_is_read_where_the_first_points():
    newer, older = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    newer[:, 0], older[:, 0, :, 4:] = 2, 1  # 2 to the right, then 1 more where x >= 4
    first = torch.zeros(1, 3, 8, 8)
    (_, real, _) = windows(History([first, first], [first, first], [older, newer]), first, first, frames=2, rates=2)[-1]
    composed = real[:, 6, 0] * 8 / 10
    assert composed.round().tolist()[0] == [2, 2, 3, 3, 3, 3, 3, 3]


def test_a_region_is_cropped_around_its_keypoints_inside_the_image():
    keypoints = torch.tensor([[[10.0, 20.0, 1.0], [18.0, 20.0, 1.0], [60.0, 60.0, 1.0]], [[0.0, 0.0, 0.0]] * 3, [[1.0, 1.0, 1.0]] * 3])
    boxes, visible = square_boxes(keypoints, (0, 1), 64, 64)
    assert visible.tolist() == [True, False, True]
    assert boxes[0].tolist() == [6, 12, 22, 28]  # the points are 8 pixels apart; the box is twice as wide
    assert boxes[2].min() >= 0
    image = torch.arange(64.0).expand(3, 1, 64, 64)
    crops = crop_region(image, boxes, 5)
    assert torch.allclose(crops[0, 0, 0], torch.tensor([6.0, 10, 14, 18, 22]), atol=1e-4)
